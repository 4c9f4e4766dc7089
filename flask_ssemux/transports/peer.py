"""The client's socket, where the server gives it: is the client still there, and cut it off.

Nothing is read from or written to it here. Works for plain sockets, gevent's, and TLS.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any, Mapping

from ..stream import WRITE_TIMEOUT

#: Where servers put it: gunicorn, and Werkzeug's development server.
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


class Peer:
    """The other end of a connection."""

    __slots__ = ("socket",)

    def __init__(self, environ: Mapping[str, Any]) -> None:
        found = (environ[key] for key in KEYS if environ.get(key) is not None)
        self.socket: socket.socket | None = next(found, None)
        if self.socket is not None:
            _limit_unacknowledged(self.socket)

    @property
    def file(self) -> int:
        """The file descriptor; -1 where there is none."""
        try:
            return self.socket.fileno() if self.socket is not None else -1
        except OSError:
            return -1

    def has_left(self) -> bool:
        """Whether the client has closed its side; False where nobody can tell."""
        file = self.file
        if file < 0:
            return self.socket is not None
        asked = _real_poll()()
        asked.register(file, _LEFT)
        return any(events & _LEFT for _, events in asked.poll(0))

    def sever(self) -> None:
        """Cut the connection off, so that a write that hangs in it ends."""
        self._shut(socket.SHUT_RDWR)

    def read_no_more(self) -> None:
        """Let the server find the end where it looks for a next request: a stream is a connection's last.

        Without it a worker that stops would wait for its clients' idle connections to time out.
        """
        self._shut(socket.SHUT_RD)

    def _shut(self, how: int) -> None:
        file = self.file
        if file < 0:
            return
        try:
            # Of the bare connection: a TLS socket's own shutdown would also forget its keys.
            with socket.socket(fileno=os.dup(file)) as bare:
                bare.shutdown(how)
        except OSError:
            pass  # it was no more


def _limit_unacknowledged(connection: socket.socket) -> None:
    """Let the kernel give up a client that vanished (RFC 5482; tcp(7), TCP_USER_TIMEOUT)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, option, int(WRITE_TIMEOUT * 1000))
        except OSError:
            pass
