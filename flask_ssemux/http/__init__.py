"""From a request to a response: the views of streams, the wrapper for old generators, and the doctor's probe.

A view decides nothing itself. It asks `access` who the client is and what the client may read, `worker` whether
there is room, and `hub` for the stream. Nothing here writes to a socket.
"""
