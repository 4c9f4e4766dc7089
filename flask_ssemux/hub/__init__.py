"""The streams of one process: clients subscribe to channels, and events from the broker reach their streams.

The replay that precedes the live events, the latest events, presence and revocation belong to it. Nothing here knows of
HTTP or of sockets: a transport takes the frames from a stream's queue.
"""
