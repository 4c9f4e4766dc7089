"""Clients whose transports wait in greenlets: the ``epoll`` object of this process reports at once that one has left.

No frames and no HTTP. How a transport waits is in ``wait.py``.
"""

from __future__ import annotations

import weakref
from typing import Any

from ..util import forks
from .client_socket import DepartureListener


class ClientWatch:
    """The clients of this process whose departure a transport wants to know of."""

    def __init__(self) -> None:
        #: Weak references: a transport that a middleware drops must end, although its client stays.
        self._listeners: dict[int, weakref.ref[DepartureListener]] = {}
        self._epoll: Any = None
        self._open_epoll()

    def _open_epoll(self) -> Any:
        """Return the ``EpollLoop``; None if the system has no epoll (macOS, BSD), or no file is left for it."""
        from .epoll import EpollLoop, has_epoll

        if self._epoll is None and has_epoll():
            try:
                self._epoll = EpollLoop(self._handle_event)
            except OSError:
                return None
        return self._epoll

    def add_client(self, file: int, listener: DepartureListener) -> int:
        """Call the listener when the client of this file has left.

        :return: the file, for ``remove_client`` before the server closes it; -1 if only a failing write shows that the
            client has left.
        """
        epoll = self._open_epoll()
        if file < 0 or epoll is None or not epoll.is_here:
            return -1
        try:
            epoll.add_file(file)
        except OSError:
            return -1  # the kernel watches no more files
        self._listeners[file] = weakref.ref(listener)
        return file

    def remove_client(self, file: int) -> None:
        if self._listeners.pop(file, None) is not None and self._epoll is not None:
            self._epoll.remove_file(file)

    def disown(self) -> None:
        """In a forked child: these clients are the parent's."""
        for file, reference in self._listeners.items():
            listener = reference()
            if listener is not None:
                listener.disown()
            forks.replace_file(file)
        self._listeners = {}

    def _handle_event(self, file: int, events: int) -> None:
        reference = self._listeners.get(file)
        listener = None if reference is None else reference()
        if listener is not None:
            listener.handle_departure()


_client_watch: ClientWatch | None = None


def get_client_watch() -> ClientWatch:
    """Return this process's; the first call makes it."""
    global _client_watch
    if _client_watch is None:
        _client_watch = ClientWatch()
    return _client_watch


def unwatch_client(file: int) -> None:
    """Watch the client of this file no longer; -1 is none."""
    if file >= 0:
        get_client_watch().remove_client(file)


def _disown_clients() -> None:
    global _client_watch
    watch, _client_watch = _client_watch, None
    if watch is not None:
        watch.disown()


forks.call_in_child(_disown_clients, forks.FILES)
