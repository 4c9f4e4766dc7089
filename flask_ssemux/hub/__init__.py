"""The streams of one process: clients subscribe to channels, and events from the broker reach their streams.

``hub.py`` is the entrance. The replay before the live events, the latest events, presence and revocations belong to
this folder too. Nothing here knows of HTTP or of sockets: a transport takes the bytes from a stream's queue.
"""
