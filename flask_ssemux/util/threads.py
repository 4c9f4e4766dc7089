"""Whether threads are greenlets, and how native threads have a call made in gevent's loop.

gevent's thread pool, and threads made with ``gevent.monkey.get_original``, are native threads beside the loop of a
process that gevent has patched. They cannot use the locks, sockets and greenlets of the loop. A call that comes from
such a thread is made by a greenlet of the loop, and the thread waits for its result. The loop is that of the main
thread or, if that has none, of the thread which set the application up.

It knows no other module of the package but ``forks``, and nothing of what is called.
"""

from __future__ import annotations

import gc
import sys
import threading
from typing import Any, Callable

from . import forks


class CallNotBegun(Exception):
    """The loop did not begin a call in time and will not begin it. Nothing of the call was done."""


class CallNotEnded(Exception):
    """The loop has begun a call, and the result did not come in time."""


#: Returns the ident of the current native thread.
get_ident: Callable[[], int] = threading.get_ident

#: Whether gevent has patched this process; it never stops being so.
_is_patched = False

#: The thread whose loop makes the calls of other threads, and the loop's hub; None in a process that is not patched.
loop_thread: int | None = None
_gevent_hub: Any = None


def greenlets_are_threads() -> bool:
    """Return whether gevent has patched this process, so that a thread is a greenlet."""
    global _is_patched
    if not _is_patched and "gevent.monkey" in sys.modules:
        from gevent.monkey import is_module_patched

        _is_patched = bool(is_module_patched("threading"))
    return _is_patched


def find_loop() -> None:
    """Remember whose loop makes calls, if gevent has patched the process and the loop is not known yet.

    It is the main thread's loop, or the caller's if the main thread has none.
    """
    global get_ident
    if loop_thread is not None or "gevent.monkey" not in sys.modules:
        return
    from gevent import get_hub, hub
    from gevent.monkey import get_original, is_module_patched

    if is_module_patched("threading"):
        get_ident = get_original("_thread", "get_ident")
        # gevent's private part, as ``thread_ident`` below: transports/private_parts.py logs that it is missing
        main_thread = getattr(hub, "MAIN_THREAD_IDENT", get_ident())
        _set_loop(get_hub() if get_ident() == main_thread else _find_hub(main_thread) or get_hub())


def _find_hub(ident: int) -> Any:
    """Return the hub of another thread, or None if it has none. gevent's ``get_hub`` returns only a thread's own."""
    from gevent.hub import Hub

    return next((it for it in gc.get_objects() if issubclass(type(it), Hub) and _get_thread(it) == ident), None)


def _get_thread(hub: Any) -> int | None:
    return getattr(hub, "thread_ident", None)


def _set_loop(hub: Any) -> None:
    global loop_thread, _gevent_hub
    loop_thread, _gevent_hub = _get_thread(hub) or get_ident(), hub


def _find_loop_in_child() -> None:
    """In a forked child: the thread that forked is the only one."""
    if loop_thread is not None and loop_thread != get_ident():
        from gevent import get_hub

        _set_loop(get_hub())


def may_use_loop() -> bool:
    """Return whether the caller may use locks and connections of the loop: it runs there, or nothing is patched."""
    return loop_thread is None or loop_thread == get_ident()


def runs_greenlets() -> bool:
    """Return whether the caller runs in the loop of a process that gevent has patched. Then all others wait."""
    return loop_thread is not None and loop_thread == get_ident()


def acquire_soon(lock: Any, seconds: float) -> bool:
    """Acquire a lock without a switch to another greenlet; return whether it was acquired.

    :param seconds: how long a thread waits for another thread. Under gevent there is no wait.
    """
    return try_acquire(lock) if loop_thread is not None else bool(lock.acquire(timeout=seconds))


def try_acquire(lock: Any) -> bool:
    """Acquire a ``threading.Lock`` if nobody holds it; return whether it was acquired. Never switch to others.

    gevent's own ``acquire(False)`` lets all other greenlets run before it returns False.
    """
    return not lock.locked() and bool(lock.acquire(False))


def make_native_lock() -> Any:
    """Return a lock between native threads. The code that holds it must not wait for anything."""
    if "gevent.monkey" in sys.modules:
        from gevent.monkey import get_original

        return get_original("_thread", "allocate_lock")()
    return threading.Lock()


def call_soon(function: Callable[[], Any]) -> None:
    """Call a function that waits for nothing: now, or in the loop's hub if this is a thread beside the loop."""
    if may_use_loop():
        function()
    else:
        _gevent_hub.loop.run_callback_threadsafe(function)


def call_in_loop(function: Callable[[], Any], begin: float, end: float, waits: bool = True) -> Any:
    """Call a function in the loop, and return its result. Not for the loop's own thread.

    :param begin: seconds that the loop has to begin the call.
    :param end: seconds that the function may take from then on.
    :param waits: whether the function may wait for something.
    :raises CallNotBegun: the loop did not begin.
    :raises CallNotEnded: the function did not end.
    """
    call = _Call(function, waits)
    _gevent_hub.loop.run_callback_threadsafe(call.start)
    if not call.begun.acquire(True, begin) and call.give_up():
        raise CallNotBegun
    if not call.ended.acquire(True, end):
        raise CallNotEnded
    return call.get_result()


class _Call:
    """One call by another thread. Each of its locks is held until the event after which it is named."""

    def __init__(self, function: Callable[[], Any], waits: bool) -> None:
        self._function = function
        self._waits = waits
        self._taking = make_native_lock()
        self.begun, self.ended = make_native_lock(), make_native_lock()
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
        """Return whether the call has not begun. Then it never will."""
        return bool(self._taking.acquire(False))

    def get_result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._value

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:
            self._error = error
        self.ended.release()


forks.call_in_child(_find_loop_in_child, forks.LOCKS)
