"""Calls the application's ``async def`` functions as Flask calls async views: each in an event loop of its own.

asyncio allows one running loop in a native thread, and all greenlets of gevent share one: of two async views of Flask
that wait at the same time in one gevent worker, the second fails. The functions that are called here take turns.
"""

from __future__ import annotations

import functools
import inspect
import threading
import time
from typing import Any, Callable, TypeVar

from flask import current_app

from ..errors import ApplicationError
from ..util import forks
from ..util.threads import greenlets_are_threads

F = TypeVar("F", bound=Callable[..., Any])

#: The maximum seconds to wait until a loop that the application itself runs in this thread has ended.
MAX_WAIT = 5.0


def make_synchronous(function: F) -> F:
    """Return the function itself; of an ``async def`` function, one that runs it and returns its result.

    An asynchronous generator function becomes one that returns a list.
    """
    if inspect.isasyncgenfunction(function):
        return _wrap(function, _make_collector(function))
    if inspect.iscoroutinefunction(function):
        return _wrap(function, function)
    return function


def _make_collector(function: Callable[..., Any]) -> Callable[..., Any]:
    async def collect(*args: Any, **kwargs: Any) -> list[Any]:
        return [item async for item in function(*args, **kwargs)]

    return collect


def _wrap(function: F, coroutine_function: Callable[..., Any]) -> F:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not hasattr(current_app, "ensure_sync"):
            raise ApplicationError(
                "%r is an async function, which Flask 1 cannot call: write it with def, or install Flask 2 or newer "
                "with pip install 'flask[async]'" % function.__qualname__
            )
        if not greenlets_are_threads():
            return current_app.ensure_sync(coroutine_function)(*args, **kwargs)
        with _get_turn():
            _wait_for_other_loop()
            return current_app.ensure_sync(coroutine_function)(*args, **kwargs)

    return call  # type: ignore[return-value]


def _wait_for_other_loop() -> None:
    """Wait while an async view of the application runs in another greenlet of this thread."""
    deadline = time.monotonic() + MAX_WAIT
    while _has_running_loop() and time.monotonic() < deadline:
        forks.sleep(0.005)


def _has_running_loop() -> bool:
    from asyncio import get_running_loop  # only applications with async functions need it

    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


#: The lock by which the functions take turns; None before the first one is called.
_turn: Any = None


def _get_turn() -> Any:
    """Return the lock. It is made here, since by now gevent has patched ``threading``."""
    global _turn
    if _turn is None:
        _turn = threading.Lock()
    return _turn


def _forget_turn() -> None:
    global _turn
    _turn = None


forks.call_in_child(_forget_turn, forks.LOCKS)
