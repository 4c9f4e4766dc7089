"""Many files watched by one ``epoll`` object, which is itself a single watcher in gevent's loop.

A gevent watcher for each file would take 0.4 KB, and would report the bytes that a client sends into its stream, which
nothing reads. This module is imported only if gevent is in use. It does not know what a file is for.
"""

from __future__ import annotations

import select
from typing import Any, Callable

from gevent import get_hub
from gevent.monkey import get_original

from ..util import forks
from ..util.supervise import attempt

#: The client closed its end, or the connection no longer exists. Reported once, and never for bytes that it sends.
LEFT = getattr(select, "EPOLLRDHUP", 0) | getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)

#: The kernel takes more bytes for the client.
ROOM = getattr(select, "EPOLLOUT", 0)

_EDGE = getattr(select, "EPOLLET", 0)

#: The number for reading in libev and libuv.
_READ = 1


def has_epoll() -> bool:
    """Return whether this system has ``epoll``; macOS, BSD and Windows have not."""
    return bool(_get_system_epoll())


def _get_system_epoll() -> Any:
    """Return the system's ``select.epoll``, which gevent hides; None if the system has none."""
    try:
        return get_original("select", "epoll")
    except AttributeError:
        return None


class EpollLoop:
    """A set of files that gevent's loop watches.

    :param handle_event: called from the loop with a file and what happened to it.
    """

    def __init__(self, handle_event: Callable[[int, int], None]) -> None:
        self._gevent_hub = get_hub()
        self._handle_event = handle_event
        self._epoll = _get_system_epoll()()
        self._watcher = self._gevent_hub.loop.io(self._epoll.fileno(), _READ)
        self._watcher.start(self._handle_events)
        forks.register_owner(self)

    @property
    def is_here(self) -> bool:
        """Whether the gevent loop of this thread is the one that watches the files."""
        return self._gevent_hub is get_hub()

    def add_file(self, file: int) -> None:
        """Watch a file for LEFT. If that has happened already, it is reported in the loop's next turn.

        :raises OSError: the kernel watches no more files.
        """
        self._epoll.register(file, LEFT | _EDGE)

    def watch_room(self, file: int, is_wanted: bool) -> None:
        """Watch a file for ROOM too, or no longer. If there is room already, it is reported in the loop's next turn."""
        self._epoll.modify(file, LEFT | _EDGE | (ROOM if is_wanted else 0))

    def remove_file(self, file: int) -> None:
        """Watch a file no longer. Called before it is closed: closing is not enough if a forked process has it open."""
        try:
            self._epoll.unregister(file)
        except OSError:
            pass  # it is closed

    def disown(self) -> None:
        """In a forked child: the set is the parent's, and what is changed in it here would change there."""
        self.close()

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        self._epoll.close()

    def _handle_events(self) -> None:
        for file, events in self._epoll.poll(0):
            # gevent stops a watcher whose callback raises, and the kernel reports each departure once.
            attempt("an event of a client's connection could not be handled", self._handle_event, file, events)
