"""Many files watched by one ``epoll``, which is itself one watcher in gevent's loop.

A watcher of gevent's for each would be 0.4 KB, and would tell of bytes that a client sends into its
stream, which nobody reads. Imported only where gevent is in use. What a file is for is not known here.
"""

from __future__ import annotations

import select
from typing import Any, Callable

from gevent import get_hub
from gevent.monkey import get_original

from ..util import forks
from ..util.supervise import attempt

#: The client's end was closed, or is no more. Told once, and never for bytes that it sends.
LEFT = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)

#: There is room for a write.
ROOM = getattr(select, "EPOLLOUT", 0)

_EDGE = getattr(select, "EPOLLET", 0)

#: libev's and libuv's word for it.
_READ = 1


def has_epoll() -> bool:
    """Whether this system has ``epoll``; macOS and BSD have not."""
    return bool(_real_select("epoll"))


def _real_select(name: str) -> Any:
    """Something of the system's ``select`` module, which gevent hides; None where the system has it not."""
    try:
        return get_original("select", name)
    except AttributeError:
        return None


class EpollLoop:
    """A set of files.

    :param tell: called from the loop with a file and what happened to it.
    """

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._hub = get_hub()
        self._tell = tell
        self._epoll = _real_select("epoll")()
        self._watcher = self._hub.loop.io(self._epoll.fileno(), _READ)
        self._watcher.start(self._look)
        forks.register_owner(self)

    @property
    def is_here(self) -> bool:
        """Whether the loop that runs here is the one that looks at it."""
        return self._hub is get_hub()

    def add(self, file: int) -> None:
        """Watch it for LEFT; if it has happened already, it is told in the next turn of the loop.

        :raises OSError: the kernel watches no more files.
        """
        self._epoll.register(file, LEFT | _EDGE)

    def want_room(self, file: int, wanted: bool) -> None:
        """Watch it for ROOM too, or no longer; if there is some already, it is told in the next turn."""
        self._epoll.modify(file, LEFT | _EDGE | (ROOM if wanted else 0))

    def remove(self, file: int) -> None:
        """Before it is closed: where a forked process has it open too, closing is not enough."""
        try:
            self._epoll.unregister(file)
        except OSError:
            pass  # it is closed

    def disown(self) -> None:
        """In a forked child: the set is the parent's, and what is changed in it here would be changed there."""
        self.close()

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        self._epoll.close()

    def _look(self) -> None:
        for file, events in self._epoll.poll(0):
            # gevent stops a watcher whose callback raises, and the kernel tells of each departure once.
            attempt("what happened to a client's connection was not dealt with", self._tell, file, events)
