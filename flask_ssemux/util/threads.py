"""Calls from threads of the system's in a process that gevent has patched: they are carried out in gevent's loop.

gevent's thread pool, and threads made with ``gevent.monkey.get_original``, run beside the loop. Locks, sockets and
greenlets of the loop cannot be used there. So a call that comes from such a thread is carried out by a greenlet of the
loop, and the thread waits for its result as threads do. The loop is that of the thread which set the application up.

It knows no other module of the package but ``forks``, and nothing of what is called.
"""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any, Callable

from . import forks


class NotTaken(Exception):
    """The loop did not begin a call in time, and will not: nothing of it was done."""


class Unanswered(Exception):
    """The loop has begun a call, and its result did not come in time."""


_get_ident: Callable[[], int] = threading.get_ident

#: The thread whose loop carries out calls of others, and the loop's hub; None in a process that is not patched.
_home: int | None = None
_hub: Any = None


def greenlets_are_threads() -> bool:
    """Return whether gevent has patched this process, so that a thread is a greenlet."""
    try:
        from gevent.monkey import is_module_patched
    except ImportError:
        return False
    return bool(is_module_patched("threading"))


def find_home() -> None:
    """Remember whose loop carries out calls, if gevent has patched the process and it is not known yet: the main
    thread's, or the caller's where the main thread has none."""
    global _get_ident
    if _home is not None or "gevent.monkey" not in sys.modules:
        return
    from gevent import get_hub
    from gevent.hub import MAIN_THREAD_IDENT
    from gevent.monkey import get_original, is_module_patched

    if is_module_patched("threading"):
        _get_ident = get_original("_thread", "get_ident")
        _settle(get_hub() if _get_ident() == MAIN_THREAD_IDENT else _find_hub(MAIN_THREAD_IDENT) or get_hub())


def _find_hub(ident: int) -> Any:
    """The hub of another thread; None if it has none. gevent tells only a thread's own."""
    from gevent.hub import Hub

    return next((it for it in gc.get_objects() if issubclass(type(it), Hub) and it.thread_ident == ident), None)


def _settle(hub: Any) -> None:
    global _home, _hub
    _home, _hub = hub.thread_ident, hub


def _settle_child() -> None:
    """In a forked child: the thread that forked is the only one."""
    if _home is not None and _home != _get_ident():
        from gevent import get_hub

        _settle(get_hub())


def is_home() -> bool:
    """Whether the caller may use locks and connections of the loop: it runs there, or nothing is patched."""
    return _home is None or _home == _get_ident()


def runs_greenlets() -> bool:
    """Whether the caller runs in the loop of a process that gevent has patched: all others wait while it runs."""
    return _home is not None and _home == _get_ident()


def acquire_soon(lock: Any, seconds: float) -> bool:
    """Acquire a lock without a switch to another greenlet; under gevent, at once or not at all.

    :param seconds: that a thread waits for another one.
    """
    return bool(lock.acquire(False) if _home is not None else lock.acquire(timeout=seconds))


def make_real_lock() -> Any:
    """A lock that holds between threads of the system's. Nobody who holds it may wait for anything."""
    if "gevent.monkey" in sys.modules:
        from gevent.monkey import get_original

        return get_original("_thread", "allocate_lock")()
    return threading.Lock()


def call_soon(function: Callable[[], Any]) -> None:
    """Call a function that waits for nothing: now, or in the loop's hub if this is a thread beside it."""
    if is_home():
        function()
    else:
        _hub.loop.run_callback_threadsafe(function)


def carry_out(function: Callable[[], Any], begin: float, end: float, waits: bool = True) -> Any:
    """Call a function in the loop, and return what it returns. Not for the loop's own thread.

    :param begin: seconds that the loop has to begin.
    :param end: seconds that the function has from then on.
    :param waits: whether the function may wait for something.
    :raises NotTaken: the loop did not begin.
    :raises Unanswered: the function did not end.
    """
    call = _Call(function, waits)
    _hub.loop.run_callback_threadsafe(call.start)
    if not call.begun.acquire(True, begin) and call.give_up():
        raise NotTaken
    if not call.ended.acquire(True, end):
        raise Unanswered
    return call.result()


class _Call:
    """One call on its way. Its locks are held until what they are named after has happened."""

    def __init__(self, function: Callable[[], Any], waits: bool) -> None:
        self._function = function
        self._waits = waits
        self._taking = make_real_lock()
        self.begun, self.ended = make_real_lock(), make_real_lock()
        self.begun.acquire()
        self.ended.acquire()
        self._value: Any = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """In the loop's hub, where nothing may wait."""
        from gevent import spawn

        if self._taking.acquire(False):
            self.begun.release()
            if self._waits:
                spawn(self._run)
            else:
                self._run()

    def give_up(self) -> bool:
        """Whether the call has not begun, and never will."""
        return bool(self._taking.acquire(False))

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self.ended.release()


forks.call_in_child(_settle_child, forks.LOCKS)
