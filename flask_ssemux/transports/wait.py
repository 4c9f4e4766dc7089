"""How a transport waits for its stream, and hears at once that its client has left.

One way for greenlets, in a process that gevent has patched; one for threads, under
``flask run``, gunicorn's gthread and the like. No frames, no HTTP.
"""

from __future__ import annotations

import select
import socket
import weakref
from typing import Any

from ..util import forks
from ..util.threads import greenlets_are_threads
from .client_socket import ClientSocket, Watching

#: Files that a stream in a thread has open: its connection, and the pair that wakes it.
THREAD_FILES = 3


class Departures:
    """All clients whose leaving somebody wants to hear of, in this process; gevent's loop tells."""

    def __init__(self) -> None:
        #: Weak: a transport that a middleware drops must end, although its client stays.
        self._heard: dict[int, weakref.ref[Watching]] = {}
        self._watch: Any = None
        self.open_watch()

    def open_watch(self) -> Any:
        """Return the ``Watch``; None where the system has no epoll (macOS, BSD), or has no file left for it."""
        from .epoll import EpollLoop, has_epoll

        if self._watch is None and has_epoll():
            try:
                self._watch = EpollLoop(self._told)
            except OSError:
                return None
        return self._watch

    def add(self, file: int, who: Watching) -> int:
        """The file to ``remove`` before the server closes it: -1 if its leaving is noticed by a write only."""
        watch = self.open_watch()
        if file < 0 or watch is None or not watch.is_here:
            return -1
        try:
            watch.add(file)
        except OSError:
            return -1  # the kernel watches no more
        self._heard[file] = weakref.ref(who)
        return file

    def remove(self, file: int) -> None:
        if self._heard.pop(file, None) is not None and self._watch is not None:
            self._watch.remove(file)

    def disown(self) -> None:
        """In a forked child: these clients are the parent's."""
        for file, reference in self._heard.items():
            who = reference()
            if who is not None:
                who.disown()
            forks.replace_file(file)
        self._heard = {}

    def _told(self, file: int, events: int) -> None:
        reference = self._heard.get(file)
        who = None if reference is None else reference()
        if who is not None:
            who.client_left()


_departures: list[Departures] = []


def departures() -> Departures:
    """This process's; made when it is first needed."""
    if not _departures:
        _departures.append(Departures())
    return _departures[0]


def forget_departure(file: int) -> None:
    """Nobody wants to hear of this client any more; -1 is none."""
    if file >= 0:
        departures().remove(file)


def _disown() -> None:
    for found in _departures:
        found.disown()
    _departures.clear()


forks.call_in_child(_disown, forks.FILES)


class GreenletWait:
    """Waits in gevent's hub, by the hub's own switch: half the cost of an ``Event``."""

    __slots__ = ("_hub", "_current", "_greenlet", "_file")

    def __init__(self, peer: ClientSocket, who: Watching) -> None:
        from gevent import get_hub, getcurrent

        from .gevent_socket import send_at_once

        send_at_once(peer.socket)
        self._hub = get_hub()
        self._current = getcurrent
        #: Who waits here; None when nobody does, or has been woken by something else.
        self._greenlet: Any = None
        self._file = departures().add(peer.file, who)

    def wake(self) -> None:
        """End a wait; from any greenlet of this hub, any number of times."""
        self._hub.loop.run_callback(self._resume)

    def wait(self) -> None:
        self._greenlet = self._current()
        try:
            self._hub.switch()
        finally:
            self._greenlet = None

    def _resume(self) -> None:
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.switch()

    def disown(self) -> None:
        """In a forked child: a wake that is on its way comes too late."""
        self._greenlet, self._file = None, -1

    def close(self) -> None:
        forget_departure(self._file)


class ThreadWait:
    """Waits in the system's ``poll``, on the client's socket and a socket that wakes it."""

    def __init__(self, peer: ClientSocket, who: Watching) -> None:
        self._who = weakref.ref(who)  # weak, as for departures
        self._peer = peer
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._inner, select.POLLIN)
        if peer.file >= 0:
            self._poll.register(peer.file, getattr(select, "POLLRDHUP", 0))
        peer.watch(who)

    def wake(self) -> None:
        """End a wait; from any thread, any number of times."""
        try:
            self._outer.send(b"\0")
        except OSError:
            pass  # full: it is awake; closed: nobody waits

    def wait(self) -> None:
        self._poll.poll()
        try:
            self._inner.recv(4096)
        except BlockingIOError:
            if self._peer.has_left():
                who = self._who()
                if who is not None:
                    who.client_left()

    def disown(self) -> None:
        """In a forked child: its thread is not there."""

    def close(self) -> None:
        self._inner.close()
        self._outer.close()


def new_wait(peer: ClientSocket, who: Watching) -> GreenletWait | ThreadWait:
    """The way of waiting that fits this process.

    :param who: told when the client has left.
    """
    return (GreenletWait if greenlets_are_threads() else ThreadWait)(peer, who)
