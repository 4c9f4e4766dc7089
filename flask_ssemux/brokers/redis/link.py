"""One open connection to a Redis server: bytes of commands out, answers in.

redis-py opens the connection, with its handshake. If hiredis is installed, answers are read by it, straight from the
socket: redis-py's own way of asking whether there is one takes several system calls, and under gevent makes watchers.
Without hiredis, redis-py reads. No commands and no events are known here.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

from .driver import driver

parser: Any = None
try:
    import hiredis

    parser = hiredis if driver is not None else None
except ImportError:  # redis-py uses it if it is installed, and does without otherwise
    pass

# hiredis packs commands, too, since its version 2.1.
_pack: Any = getattr(parser, "pack_command", None)

#: The bytes of one read.
READ_BYTES = 64 * 1024

# What a read raises if nothing has come: without a wait, after it, and both with TLS.
_NOTHING_CAME = (BlockingIOError, socket.timeout, ssl.SSLWantReadError)


def make_link(connection: Any) -> Link:
    """Return the link of a connection of redis-py that is open."""
    has_parts = hasattr(connection, "_sock") and hasattr(getattr(connection, "_parser", None), "parse_error")
    return ParsedLink(connection) if parser is not None and has_parts else Link(connection)


def pack_command(command: tuple[Any, ...]) -> bytes:
    """Return a command in Redis's protocol. hiredis takes a third of the time of this, redis-py five times as long."""
    if _pack is not None:
        try:
            return bytes(_pack(command))
        except TypeError:  # it takes no values but text, bytes and numbers
            pass
    parts = [b"*%d\r\n" % len(command)]
    for value in command:
        data = value if type(value) is bytes else str(value).encode("utf-8")
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Link:
    """A connection that redis-py reads.

    :param connection: of redis-py; it is open, and has no answer to come.

    :ivar server: the host and the port to which it was opened.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.server = getattr(connection, "host", None), getattr(connection, "port", None)
        self.socket: Any = getattr(connection, "_sock", None)

    def send(self, data: bytes) -> None:
        """Send the bytes of commands."""
        self._connection.send_packed_command([data])

    def can_read(self, timeout: float) -> bool:
        """Return whether an answer, or its beginning, has come; wait for it.

        :param timeout: seconds; 0 does not wait.
        """
        return bool(self._connection.can_read(timeout))

    def has_answer(self) -> bool:
        """Return whether another answer came with the last one. One that comes later is found by ``can_read``."""
        return self.can_read(0)

    def read_answer(self) -> Any:
        """Return the next answer; wait for its rest.

        :raises redis.ResponseError: the answer is an error.
        """
        return self._connection.read_response()

    def disconnect(self) -> None:
        self._connection.disconnect()


class ParsedLink(Link):
    """A connection that hiredis reads."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._timeout = self.socket.gettimeout()
        self._parser = parser.Reader(
            protocolError=driver.exceptions.InvalidResponse, replyError=connection._parser.parse_error
        )
        #: The next answer, if it has been parsed; False, which is no answer in this protocol, if not.
        self._next: Any = False

    def send(self, data: bytes) -> None:
        sent = self.socket.send(data)  # gevent's sendall asks for the size of the buffer first
        if sent < len(data):
            self.socket.sendall(memoryview(data)[sent:])

    def can_read(self, timeout: float) -> bool:
        return self.has_answer() or self._receive(timeout)

    def has_answer(self) -> bool:
        if self._next is False:
            self._next = self._parser.gets()
        return self._next is not False

    def read_answer(self) -> Any:
        deadline = time.monotonic() + self._timeout
        while not self.has_answer():
            if not self._receive(max(0.0, deadline - time.monotonic())):
                raise driver.TimeoutError("the rest of an answer did not come in %g s" % self._timeout)
        answer, self._next = self._next, False
        if isinstance(answer, driver.RedisError):
            raise answer
        return answer

    def _receive(self, timeout: float) -> bool:
        """Read what has come, or comes in time; return whether there was something."""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(READ_BYTES)
        except _NOTHING_CAME:
            return False
        finally:
            self.socket.settimeout(self._timeout)
        if not data:
            raise driver.ConnectionError("Connection closed by server.")
        self._parser.feed(data)
        return True
