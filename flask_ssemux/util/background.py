"""Work in the background: in a greenlet or thread that the caller does not wait for.

``threading.Thread.start()`` returns when the thread has begun. Under gevent that is when all greenlets that were ready
before have had their turn, which takes seconds in a flood of requests; the timer cannot wait for that long.
Work is only started here: no locks, no results. Errors are logged.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

from . import forks
from .supervise import attempt
from .threads import greenlets_are_threads


def run_in_background(name: str, work: Callable[..., None], *args: Any) -> None:
    """Run this in the background.

    :param name: of the thread, for tools that show the threads of a process.
    """
    failure = "%s had an error" % name
    if greenlets_are_threads():
        from gevent import spawn

        spawn(_attempt_here, forks.generation, failure, work, *args)
    else:
        threading.Thread(target=attempt, args=(failure, work, *args), name=name, daemon=True).start()


def _attempt_here(born: int, *args: Any) -> None:
    forks.halt_copy(born)  # a fork copies greenlets that have not begun, too
    attempt(*args)
