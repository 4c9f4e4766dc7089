"""The client's connection, where the server gives it: is the client still there, and cut it off.

Nothing is read from or written to it here. Works for plain sockets, gevent's, and TLS.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from typing import Any, Iterator, Mapping, Protocol

from ..hub.limits import WRITE_TIMEOUT
from ..util import forks

#: Where servers put it by name: gunicorn, and Werkzeug's development server since 2.0.
KEYS = ("gunicorn.socket", "werkzeug.socket")

# Linux tells the end of the client's side without reading: also under TLS, and
# when the client has sent stray bytes. Elsewhere only a full close is seen.
_LEFT = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR | select.POLLNVAL


def _real_poll() -> Any:
    """select.poll as the system has it: gevent's waits, and this one is only asked."""
    try:
        from gevent.monkey import get_original
    except ImportError:
        return select.poll
    return get_original("select", "poll")


class Watching(Protocol):
    """Something that wants to hear that its client has left."""

    def client_left(self) -> None:
        """Called once, from gevent's loop, from the waiting thread, or from the server's."""

    def disown(self) -> None:
        """In a forked child: nobody is to be woken; the connection is the parent's."""


class ClientSocket:
    """The other end of a connection."""

    __slots__ = ("socket",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        #: The server's own object, which has a ``fileno()``: a socket, or what reads from one.
        self.socket: Any = next(_given(environ), None)
        if self.socket is not None:
            self._limit_unacknowledged()

    @property
    def file(self) -> int:
        """The file descriptor; -1 where there is none."""
        return _file(self.socket)

    @property
    def is_watched(self) -> bool:
        """Whether it is noticed that the client has left, other than by a write that fails."""
        return self.file >= 0

    def watch(self, who: Watching) -> None:
        """Tell when the client has left, where the server says so. A connection that has a file is watched by it."""

    def has_left(self) -> bool:
        """Whether the client has closed its side; False where nobody can tell."""
        file = self.file
        if file < 0:
            return self.socket is not None
        asked = _real_poll()()
        asked.register(file, _LEFT)
        return any(events & _LEFT for _, events in asked.poll(0))

    def wait_for_room(self) -> None:
        """Return when the kernel takes more bytes for the client, or the connection is cut off; where nobody can tell,
        at once."""
        file = self.file
        if file < 0:
            return
        asked = _real_poll()()
        asked.register(file, select.POLLOUT)
        if not asked.poll(0):
            waits = select.poll()  # gevent's, where that is in use: others run
            waits.register(file, select.POLLOUT)
            waits.poll(WRITE_TIMEOUT * 1000)

    def sever(self) -> None:
        """Cut the connection off, so that a write that hangs in it ends."""
        file = self.file
        if file < 0:
            return
        try:
            # Of the bare connection: a TLS socket's own shutdown would also forget its keys.
            with socket.socket(fileno=os.dup(file)) as bare:
                bare.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it was no more

    def close(self) -> None:
        """The request is over: the server may give its objects, and the file's number, to another one."""
        self.socket = None

    def disown(self) -> None:
        """In a forked child: the connection is the parent's, and ends here without being closed."""
        forks.replace_file(self.file)

    def _limit_unacknowledged(self) -> None:
        """Let the kernel give up a client that vanished (RFC 5482; tcp(7), TCP_USER_TIMEOUT)."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is None:
            return
        try:
            if hasattr(self.socket, "setsockopt"):
                _set(self.socket, option)
            else:
                with socket.socket(fileno=os.dup(self.file)) as bare:
                    _set(bare, option)
        except OSError:
            pass


def _set(connection: Any, option: int) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, int(WRITE_TIMEOUT * 1000))


def _given(environ: Mapping[str, Any]) -> Iterator[Any]:
    """What the server gives of the connection."""
    for key in KEYS:
        if environ.get(key) is not None:
            yield environ[key]
    # waitress: a method of the connection's own object.
    channel: Any = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    if hasattr(channel, "socket"):
        yield channel.socket
    # uWSGI, gevent's pywsgi, Werkzeug before 2.0: what reads the request's body reads from the connection.
    body = environ.get("wsgi.input")
    for reader in (body, getattr(body, "rfile", None)):
        file = _file(reader)
        if file >= 0 and _is_socket(file):
            yield reader


def _file(connection: Any) -> int:
    """Its file descriptor; -1 if it has none, or has it no more."""
    try:
        return int(connection.fileno())
    except (AttributeError, OSError, ValueError):
        return -1


def _is_socket(file: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(file).st_mode)
    except OSError:
        return False
