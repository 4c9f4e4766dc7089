"""Work in the background: in a greenlet or thread that the caller does not wait for.

``threading.Thread.start()`` returns when the thread has begun. Under gevent that is when all greenlets that were ready
before have had their turn, which takes seconds in a flood of requests; the timer cannot wait for that long.
In a forked child, the copy of such a greenlet never goes on, whatever it waited for.
Work is only started here: no locks, no results. Errors are logged.
"""

from __future__ import annotations

import functools
import threading
import weakref
from typing import Any, Callable

from . import forks
from .supervise import attempt
from .threads import call_soon, greenlets_are_threads

#: Those that are not over.
_greenlets: weakref.WeakSet[Any] = weakref.WeakSet()


def run_in_background(name: str, work: Callable[..., None], *args: Any) -> None:
    """Run this in the background.

    :param name: of the thread, for tools that show the threads of a process.
    """
    failure = "%s had an error" % name
    if greenlets_are_threads():  # a thread beside the loop has a loop of its own, in which nothing would run
        call_soon(functools.partial(_find_greenlet_class().spawn, attempt, failure, work, *args))
    else:
        threading.Thread(target=attempt, args=(failure, work, *args), name=name, daemon=True).start()


@functools.lru_cache(maxsize=1)
def _find_greenlet_class() -> Any:
    """Return the class of these greenlets. It is made when it is needed, since gevent need not be installed."""
    from gevent import Greenlet

    class OwnGreenlet(Greenlet):  # type: ignore[misc]
        """A greenlet that goes on only in the process that started it, and in a child that it forks itself."""

        def __init__(self, *args: Any, **values: Any) -> None:
            super().__init__(*args, **values)
            self._born = forks.generation
            _greenlets.add(self)

        def switch(self, *values: Any) -> Any:
            return None if forks.is_copy(self, self._born) else super().switch(*values)

        def throw(self, *error: Any) -> Any:
            return None if forks.is_copy(self, self._born) else super().throw(*error)

    return OwnGreenlet


def _keep_copies() -> None:
    """In a forked child: a greenlet to which nothing refers would be ended, and run its ``finally`` blocks here."""
    forks.keep_copies(_greenlets)


forks.call_in_child(_keep_copies, forks.LOCKS)
