"""Work beside the caller, who does not wait for it: in a greenlet where they are threads, else in a thread.

``threading.Thread.start()`` returns when the thread has begun. Under gevent that is when all greenlets that were ready
before have had their turn, which in a flood of requests takes seconds; the clock of heartbeats has not got those.
Only how it is started; no locks, no results. What it raises is logged.
"""

from __future__ import annotations

import threading
from typing import Any, Callable

from . import forks
from .supervise import attempt
from .threads import greenlets_are_threads


def run_in_background(name: str, work: Callable[..., None], *args: Any) -> None:
    """Do this beside the caller.

    :param name: of the thread, for whoever looks at the process.
    """
    failure = "%s had an error" % name
    if greenlets_are_threads():
        from gevent import spawn

        spawn(_do, forks.generation, failure, work, *args)
    else:
        threading.Thread(target=attempt, args=(failure, work, *args), name=name, daemon=True).start()


def _do(born: int, *args: Any) -> None:
    forks.halt_copy(born)  # one that has not begun goes over a fork, too
    attempt(*args)
