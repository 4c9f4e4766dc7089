"""The loop lag of a process: all its applications share it, as their timers share one thread.

So one watchdog watches the loop, and a block of the loop is one line in the log, whatever the number of applications.
Its figures are those of the process. How a lag is measured is in ``loop_lag.py``.
"""

from __future__ import annotations

import weakref
from typing import Protocol

from ..options import Options
from ..util import forks
from ..util.threads import greenlets_are_threads
from .loop_lag import LoopLag, Watcher


class Concerned(Protocol):
    """An application's running worker, whose streams wait while the loop is blocked."""

    options: Options

    def count_waiting(self) -> int:
        """Return how many streams miss something while the loop is blocked."""


class _SharedLag:
    """The loop lag, and the workers whose streams it delays."""

    def __init__(self) -> None:
        self.concerned: weakref.WeakSet[Concerned] = weakref.WeakSet()
        self.lag: LoopLag | None = None

    def get_lag(self) -> LoopLag:
        if self.lag is None:
            watch = _make_watchdog if greenlets_are_threads() else None
            self.lag = LoopLag(self._count_waiting, watch, self._describe_margin)
        return self.lag

    def _count_waiting(self) -> int:
        return sum(worker.count_waiting() for worker in list(self.concerned))

    def _describe_margin(self) -> str:
        """Return what clients expect, of those applications that have streams: the one whose clients wait least."""
        waiting = [worker.options for worker in list(self.concerned) if worker.count_waiting()]
        if not waiting:
            return ""
        options = min(waiting, key=lambda options: options.client_timeout)
        return " (heartbeats are due every %g s, clients wait %g s)" % (options.heartbeat, options.client_timeout)


_shared = _SharedLag()


def get_loop_lag() -> LoopLag:
    """Return the loop lag of this process."""
    return _shared.get_lag()


def count_streams_of(worker: Concerned) -> None:
    """Let the loop lag of this process count the streams of this worker, too."""
    _shared.concerned.add(worker)


def forget_streams_of(worker: Concerned) -> None:
    """Stop counting the streams of this worker."""
    _shared.concerned.discard(worker)


def _make_watchdog(loop_lag: LoopLag) -> Watcher:
    from .watchdog import Watchdog

    return Watchdog(loop_lag)


def _renew_lag() -> None:
    """In a forked child: the lag, its figures and its watchdog are the parent's."""
    global _shared
    _shared = _SharedLag()


forks.call_in_child(_renew_lag, forks.LOCKS)
