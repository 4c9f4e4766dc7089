"""The client's connection, if the server gives it: whether the client has left, and how the connection is cut.

No bytes are read from it or written to it here. Plain sockets, gevent's sockets and TLS are all fine.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from typing import Any, Iterator, Mapping, Protocol

from ..hub.limits import WRITE_TIMEOUT
from ..util import forks

#: Keys of the WSGI environment under which servers put it: gunicorn, and Werkzeug's development server since 2.0.
ENVIRON_KEYS = ("gunicorn.socket", "werkzeug.socket")

# Linux reports the end of the client's side without a read: also under TLS, and if the client has sent stray bytes.
# Other systems report only a full close.
_LEFT = sum(getattr(select, name, 0) for name in ("POLLRDHUP", "POLLHUP", "POLLERR", "POLLNVAL"))


def has_poll() -> bool:
    """Return whether this system has ``poll``; Windows has not."""
    return hasattr(select, "poll")


def _make_system_poll() -> Any:
    """Return the system's own poll object, for a question that does not wait: gevent's object would wait."""
    try:
        from gevent.monkey import get_original
    except ImportError:
        return select.poll()
    return get_original("select", "poll")()


class DepartureListener(Protocol):
    """What wants to know that its client has left."""

    def handle_departure(self) -> None:
        """The client has left. Called once, from gevent's loop, from the thread that waits, or from the server's."""

    def disown(self) -> None:
        """In a forked child: the connection is the parent's, so nothing is woken."""


class ClientSocket:
    """The other end of a connection.

    :param environ: the WSGI environment of the request.
    """

    __slots__ = ("socket",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        #: The server's own object with a ``fileno()``: a socket, or what reads from one. None if there is none.
        self.socket: Any = environ.get("gunicorn.socket") or next(_find_connections(environ), None)
        if self.socket is not None:
            self._limit_unacknowledged_time()

    @property
    def file(self) -> int:
        """The file descriptor; -1 if there is none."""
        return _get_file(self.socket)

    @property
    def can_notice_departure(self) -> bool:
        """Whether it is noticed that the client has left before a write fails."""
        return has_poll() and self.file >= 0

    def watch_departure(self, listener: DepartureListener) -> None:
        """Call the listener when the server says that the client has left. A file descriptor is watched elsewhere."""

    def has_client_left(self) -> bool:
        """Return whether the client has closed its side; False if this cannot be known."""
        file = self.file
        if file < 0:
            return self.socket is not None
        if not has_poll():
            return False
        poll = _make_system_poll()
        poll.register(file, _LEFT)
        return any(events & _LEFT for _, events in poll.poll(0))

    def wait_for_room(self) -> None:
        """Return when the kernel takes more bytes for the client, or when the connection is cut; if this cannot be
        known, at once."""
        file = self.file
        if file < 0 or not has_poll():
            return
        poll = _make_system_poll()
        poll.register(file, select.POLLOUT)
        if not poll.poll(0):
            poll = select.poll()  # under gevent this one lets other greenlets run
            poll.register(file, select.POLLOUT)
            poll.poll(WRITE_TIMEOUT * 1000)

    def cut_connection(self) -> None:
        """Cut the connection, so that a write that hangs in it ends."""
        file = self.file
        if file < 0:
            return
        try:
            # A TLS socket's own shutdown() would also drop its keys, so a copy of the bare connection is shut down.
            with socket.fromfd(file, socket.AF_INET, socket.SOCK_STREAM) as bare:
                bare.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the connection no longer exists

    def close(self) -> None:
        """The request is over: the server may give its objects, and the file's number, to another request."""
        self.socket = None

    def disown(self) -> None:
        """In a forked child: the connection is the parent's. It ends in this process, and is not closed."""
        forks.replace_file(self.file)

    def _limit_unacknowledged_time(self) -> None:
        """Let the kernel give up a client that has vanished (RFC 5482; tcp(7), TCP_USER_TIMEOUT)."""
        option = getattr(socket, "TCP_USER_TIMEOUT", None)
        if option is None:
            return
        try:
            if hasattr(self.socket, "setsockopt"):
                _set_write_timeout(self.socket, option)
            else:
                with socket.socket(fileno=os.dup(self.file)) as bare:
                    _set_write_timeout(bare, option)
        except OSError:
            pass


def _set_write_timeout(connection: Any, option: int) -> None:
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, option, int(WRITE_TIMEOUT * 1000))


def _find_connections(environ: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the objects of the server that have the connection."""
    for key in ENVIRON_KEYS:
        if environ.get(key) is not None:
            yield environ[key]
    # waitress: a method of the object that has the connection.
    channel: Any = getattr(environ.get("waitress.client_disconnected"), "__self__", None)
    if hasattr(channel, "socket"):
        yield channel.socket
    # uWSGI, gevent's pywsgi, Werkzeug before 2.0: what reads the request's body reads from the connection.
    body = environ.get("wsgi.input")
    for reader in (body, getattr(body, "rfile", None)):
        file = _get_file(reader)
        if file >= 0 and _is_socket(file):
            yield reader


def _get_file(connection: Any) -> int:
    """Return its file descriptor; -1 if it never had one, or has none any more."""
    try:
        return int(connection.fileno())
    except (AttributeError, OSError, ValueError):
        return -1


def _is_socket(file: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(file).st_mode)
    except OSError:
        return False
