"""How a transport waits for its stream, and hears at once that its client has left.

One way for greenlets, in a process that gevent has patched; one for threads, under
``flask run``, gunicorn's gthread and the like. No frames, no HTTP.
"""

from __future__ import annotations

import os
import select
import socket
from typing import Any, Callable

from .peer import Peer

#: Files that a stream in a thread has open: its connection, and the pair that wakes it.
THREAD_FILES = 3


def greenlets_are_threads() -> bool:
    """Whether gevent has patched this process, so that a thread is a greenlet."""
    try:
        from gevent.monkey import is_module_patched
    except ImportError:
        return False
    return bool(is_module_patched("threading"))


class Departure:
    """Calls back from gevent's loop, once, when the client has left."""

    __slots__ = ("_file",)

    def __init__(self, peer: Peer, left: Callable[[], None]) -> None:
        self._file = peer.file
        if self._file >= 0:
            departures().add(self._file, left)

    def close(self) -> None:
        """Stop watching; before the server closes the socket."""
        file, self._file = self._file, -1
        if file >= 0:
            departures().remove(file)


class Departures:
    """All clients whose leaving somebody wants to hear of, in this process."""

    def __init__(self) -> None:
        from .watch import Watch

        self._heard: dict[int, Callable[[], None]] = {}
        self._watch = Watch(self._told)

    def add(self, file: int, left: Callable[[], None]) -> None:
        if self._watch.is_here:
            try:
                self._watch.add(file)
            except OSError:
                return  # the kernel watches no more: its leaving is noticed by a write
            self._heard[file] = left

    def remove(self, file: int) -> None:
        if self._heard.pop(file, None) is not None:
            self._watch.remove(file)

    def _told(self, file: int, events: int) -> None:
        left = self._heard.get(file)
        if left is not None:
            left()


_departures: list[Departures] = []


def departures() -> Departures:
    """This process's; made when it is first needed."""
    if not _departures:
        _departures.append(Departures())
    return _departures[0]


os.register_at_fork(after_in_child=_departures.clear)


class GreenletWait:
    """Waits in gevent's hub, by the hub's own switch: half the cost of an ``Event``."""

    __slots__ = ("_hub", "_current", "_greenlet", "_departure")

    def __init__(self, peer: Peer, left: Callable[[], None]) -> None:
        from gevent import get_hub, getcurrent

        from .gevent_socket import send_at_once

        send_at_once(peer.socket)
        self._hub = get_hub()
        self._current = getcurrent
        #: Who waits here; None when nobody does, or has been woken by something else.
        self._greenlet: Any = None
        self._departure = Departure(peer, left)

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

    def close(self) -> None:
        self._departure.close()


class ThreadWait:
    """Waits in the system's ``poll``, on the client's socket and a socket that wakes it."""

    def __init__(self, peer: Peer, left: Callable[[], None]) -> None:
        self._left = left
        self._peer = peer
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._inner, select.POLLIN)
        if peer.file >= 0:
            self._poll.register(peer.file, getattr(select, "POLLRDHUP", 0))

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
                self._left()

    def close(self) -> None:
        self._inner.close()
        self._outer.close()


def new_wait(peer: Peer, left: Callable[[], None]) -> GreenletWait | ThreadWait:
    """The way of waiting that fits this process.

    :param left: called when the client has left, from gevent's loop or the waiting thread.
    """
    return (GreenletWait if greenlets_are_threads() else ThreadWait)(peer, left)
