"""What transports do to a gevent socket: send without gevent's preparations, and take its connection away.

Private parts of gevent are used here, and nowhere else in the package but in ``util/threads.py``; ``private_parts.py``
looks them up. This module is imported only if gevent is in use. No frames, no streams.
"""

from __future__ import annotations

import errno
from typing import Any

from gevent.socket import socket

from .private_parts import Use, can_do


class StreamSocket(socket):
    """Tries one ``send`` and leaves to gevent, which waits, what was not sent.

    gevent's own ``sendall`` asks the kernel for the buffer's size and sets up its chunks and time-outs before each
    write, which costs a third as much as the write itself.
    """

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
    """Make a client's connection a ``StreamSocket``, if it is gevent's plain socket: not under TLS.

    The object is the server's, and its class is changed in place: it stays the same connection. Other requests may
    follow on it, as after a poll.
    """
    if type(connection) is socket and can_do(Use.DIRECT_SEND):
        try:
            connection.__class__ = StreamSocket
        except TypeError:
            pass  # the classes are laid out differently


def can_be_taken(connection: Any) -> bool:
    """Return whether this is gevent's plain socket, in a loop that a file may leave: not under TLS, not with libuv."""
    return type(connection) in (socket, StreamSocket) and connection.hub.loop.backend == "epoll"


def is_awaited(connection: Any) -> bool:
    """Return whether a greenlet waits for it."""
    return bool(connection._read_event.active or connection._write_event.active)


def make_replacement(connection: Any, other: Any) -> Any:
    """Return the file of another socket in an object of the class of this connection's real socket."""
    kind = type(connection._sock)
    made = kind(other.family, other.type, other.proto, other.fileno())
    other.detach()
    made.setblocking(False)
    return made


def replace_real_socket(connection: Any, replacement: Any) -> None:
    """Give a gevent socket another real socket. The file of its former one stays open, and is the caller's now."""
    taken, connection._sock = connection._sock, replacement
    taken.detach()
