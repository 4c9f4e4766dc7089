"""How a transport waits for its stream and is woken: in a greenlet if gevent has patched the process, else in a thread.

A thread also notices here that its client has left; for greenlets, ``client_watch.py`` does. No frames, no HTTP.
"""

from __future__ import annotations

import select
import socket
import weakref
from typing import Any

from ..util.threads import greenlets_are_threads
from .client_socket import ClientSocket, DepartureListener, has_poll
from .client_watch import get_client_watch, unwatch_client

#: Files that a stream in a thread has open: its connection, and the socket pair that wakes it.
THREAD_FILES = 3


class GreenletWaiter:
    """Waits in gevent's hub by a switch of its own, which costs half as much as gevent's ``Event``."""

    __slots__ = ("_gevent_hub", "_getcurrent", "_greenlet", "_file")

    def __init__(self, client: ClientSocket, listener: DepartureListener) -> None:
        from gevent import get_hub, getcurrent

        from .gevent_socket import send_at_once

        send_at_once(client.socket)
        self._gevent_hub = get_hub()
        self._getcurrent = getcurrent
        #: The greenlet that waits here; None if none waits, or if something else has woken it.
        self._greenlet: Any = None
        self._file = get_client_watch().add_client(client.file, listener)

    def wake(self) -> None:
        """End a wait. Called from any greenlet of this gevent hub, any number of times."""
        self._gevent_hub.loop.run_callback(self._resume)

    def wait(self) -> None:
        self._greenlet = self._getcurrent()
        try:
            self._gevent_hub.switch()
        finally:
            self._greenlet = None

    def _resume(self) -> None:
        greenlet, self._greenlet = self._greenlet, None
        if greenlet is not None:
            greenlet.switch()

    def disown(self) -> None:
        """In a forked child: a wake that is on its way does nothing."""
        self._greenlet, self._file = None, -1

    def close(self) -> None:
        unwatch_client(self._file)


class ThreadWaiter:
    """Waits in the system's ``poll`` for the client's socket and for a socket that wakes the thread."""

    def __init__(self, client: ClientSocket, listener: DepartureListener) -> None:
        self._listener = weakref.ref(listener)  # weak for the same reason as in ``client_watch.py``
        self._client = client
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._poll = self._make_poll() if has_poll() else None
        client.watch_departure(listener)

    def _make_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._inner, select.POLLIN)
        if self._client.file >= 0:
            poll.register(self._client.file, getattr(select, "POLLRDHUP", 0))
        return poll

    def wake(self) -> None:
        """End a wait. Called from any thread, any number of times."""
        try:
            self._outer.send(b"\0")
        except OSError:
            pass  # full: the thread is awake; closed: nothing waits

    def wait(self) -> None:
        if self._poll is None:
            select.select([self._inner], [], [])  # Windows: that the client has left shows when a write fails
        else:
            self._poll.poll()
        try:
            self._inner.recv(4096)
        except BlockingIOError:
            self._handle_departure()

    def _handle_departure(self) -> None:
        listener = self._listener()
        if listener is not None and self._client.has_client_left():
            listener.handle_departure()

    def disown(self) -> None:
        """In a forked child: the thread does not exist there."""

    def close(self) -> None:
        self._inner.close()
        self._outer.close()


def make_waiter(client: ClientSocket, listener: DepartureListener) -> GreenletWaiter | ThreadWaiter:
    """Return the kind of waiter that fits this process.

    :param listener: called when the client has left.
    """
    return (GreenletWaiter if greenlets_are_threads() else ThreadWaiter)(client, listener)
