"""A gevent socket for streams, whose frames mostly go out in one ``send``.

gevent's own ``sendall`` asks the kernel for the buffer's size and sets up its chunks and
time-outs before each write, which costs a third as much as the write itself. Imported
only where gevent is in use. No frames, no streams.
"""

from __future__ import annotations

import errno
from typing import Any

from gevent.socket import socket


class StreamSocket(socket):
    """Tries one ``send``; what did not go is left to gevent, which waits."""

    __slots__ = ()

    def sendall(self, data: bytes, flags: int = 0) -> Any:
        try:
            sent = self._sock.send(data, flags)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                raise
            sent = 0
        if sent < len(data):
            return super().sendall(memoryview(data)[sent:], flags)
        return None


def send_at_once(connection: Any) -> None:
    """Make a client's connection a ``StreamSocket``, if it is gevent's plain one: not under TLS.

    The object is the server's, and its class is changed in place: it stays the same connection. Other requests
    may follow on it, as after a poll.
    """
    if type(connection) is socket:
        connection.__class__ = StreamSocket


def is_plain(connection: Any) -> bool:
    """Return whether this is a connection of gevent's without TLS."""
    return type(connection) in (socket, StreamSocket)
