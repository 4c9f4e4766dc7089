"""What transports do to a gevent socket: send without gevent's preparations, and take its connection away.

Private parts of gevent are used here, and nowhere else in the package but in ``util/threads.py``; ``private_parts.py``
looks them up. This module is imported only if gevent is in use. No frames, no streams.
"""

from __future__ import annotations

import _socket
import errno
from typing import Any, Callable

from gevent.socket import socket

from .private_parts import Use, can_do


class StreamSocket(socket):
    """Tries one ``send`` and leaves to gevent, which waits, what was not sent.

    gevent's own ``sendall`` asks the kernel for the buffer's size and sets up its chunks and time-outs before each
    write, which costs a third as much as the write itself.
    """

    __slots__ = ()

    def sendall(self, data: bytes, flags: int = 0) -> Any:
        return self._send_all(data, flags, flags)

    def _send_all(self, data: bytes, first_flags: int, flags: int) -> Any:
        """
        :param first_flags: of the first try.
        """
        try:
            sent = self._sock.send(data, first_flags)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                raise
            sent = 0
        if sent < len(data):
            return super().sendall(memoryview(data)[sent:], flags)
        return None


class BeginningSocket(StreamSocket):
    """A ``StreamSocket`` whose first write is a response's head, which the kernel sends together with the next write.

    So the head and the opening frames take one packet. The kernel waits 0.2 s at most for the second (tcp(7),
    TCP_CORK, as for ``MSG_MORE``).
    """

    __slots__ = ()

    def sendall(self, data: bytes, flags: int = 0) -> Any:
        self.__class__ = StreamSocket
        return self._send_all(data, flags | _MORE, flags)


class TakenSocket(socket):
    """What is left of a connection that was handed over: its writer finds room, and its reader the end.

    gunicorn ends the response and closes the connection as always, and nothing of that reaches the client.
    """

    __slots__ = ()

    def sendall(self, data: bytes, flags: int = 0) -> Any:
        return None

    def send(self, data: bytes, flags: int = 0, timeout: Any = None) -> int:
        return len(data)

    def recv(self, *args: Any) -> bytes:
        return b""


#: Linux; elsewhere the head is a packet of its own.
_MORE = getattr(_socket, "MSG_MORE", 0)

#: The classes of gevent's plain sockets.
_PLAIN = (socket, StreamSocket, BeginningSocket)


def send_at_once(connection: Any) -> None:
    """Make a client's connection a ``StreamSocket``, if it is gevent's plain socket: not under TLS.

    The object is the server's, and its class is changed in place: it stays the same connection. Other requests may
    follow on it, as after a poll.
    """
    _change_class(connection, StreamSocket)


def join_head(connection: Any) -> None:
    """Make a connection of which nothing of the response was sent yet a ``BeginningSocket``, as ``send_at_once``."""
    _change_class(connection, BeginningSocket)


def _change_class(connection: Any, kind: type) -> None:
    if type(connection) in _PLAIN and can_do(Use.DIRECT_SEND):
        try:
            connection.__class__ = kind
        except TypeError:
            pass  # the classes are laid out differently


def can_be_taken(connection: Any) -> bool:
    """Return whether this is gevent's plain socket, in a loop that a file may leave: not under TLS, not with libuv."""
    return type(connection) in _PLAIN and connection.hub.loop.backend == "epoll"


def is_awaited(connection: Any) -> bool:
    """Return whether a greenlet waits for it."""
    return bool(connection._read_event.active or connection._write_event.active)


def take_file(connection: Any, adopt: Callable[[int], bool]) -> bool:
    """Take the file out of a connection for which no greenlet waits. The file stays open.

    :param adopt: takes the file, and returns whether it did.
    :return: the same. If the file was not taken, or this raises, nothing has changed.
    :raises TypeError: the class of the socket cannot be changed.
    """
    kind, is_taken = type(connection), False
    connection.__class__ = TakenSocket
    try:
        is_taken = adopt(connection.fileno())
    finally:
        if not is_taken:
            connection.__class__ = kind
    if is_taken:
        connection.detach()
    return is_taken
