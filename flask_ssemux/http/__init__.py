"""From a request to a response: the views of streams, the wrapper for old generators, and the doctor's probe.

``open_stream.py`` leads from a request to an open stream. It decides nothing itself: it asks `access` who the client is
and what the client may read, `worker` whether there is room, `hub` for the stream, and `transports` for the iterator
that sends it. Nothing here writes to a socket.
"""
