"""Ends the streams of a worker that is about to stop, and gives their clients time to take the end.

``server.py`` finds out whether the server is about to stop; ``open_streams.py`` ends the streams.
"""

from __future__ import annotations

import os
import random
import time
from typing import Callable

from ..options import Options, log
from ..util.supervise import attempt
from . import gunicorn_worker, server
from .open_streams import OpenStreams
from .opening_queue import opening_queue
from .periodic import OneTimeTask
from .timer import Timer

#: What clients of this worker read when it stops: those that have a stream, and those that ask for one.
STOPPING = "this worker stops"

#: Seconds between two checks whether the server is about to stop.
CHECK_INTERVAL = 0.25

#: Seconds that clients have to take the end of their streams. Then the remaining streams are cut off.
DRAIN_SECONDS = 3.0

#: The share of the cores that clients who come back may use for their openings. The rest is for pages.
LOAD = 0.5


class Drain:
    """Ends the streams of one application in this process."""

    def __init__(self, streams: OpenStreams, timer: Timer, options: Options) -> None:
        self._streams = streams
        self._options = options
        self._timer = timer
        self.has_begun = False
        #: Over how many seconds the clients come back.
        self._seconds = options.retry / 1000
        #: Called when the drain begins. They wait for nothing.
        self.on_begin: list[Callable[[], None]] = []

    def check_server(self) -> None:
        """Begin the drain if the server was asked to stop."""
        if server.is_stopping():
            self.begin()

    def begin(self) -> None:
        """End every stream cleanly, and cut off what is left after ``DRAIN_SECONDS``. Further calls do nothing."""
        if self.has_begun:
            return
        self.has_begun = True
        for call in self.on_begin:
            attempt("a drain could not begin", call)
        # gunicorn also ends a worker that was blocked for too long. Its lag is noted now: the timer has no later turn.
        self._timer.loop_lag.note_turn(time.monotonic())
        count = len(self._streams)
        seconds = self._seconds = choose_return_seconds(self._options, count + len(opening_queue))
        log.info(
            "the worker stops: %d streams are sent elsewhere, and their clients come back within %.1f s, since opening "
            "a stream takes %.1f ms of CPU time here", count, self._options.retry / 2000 + seconds,
            opening_queue.cost * 1000,
        )  # fmt: skip
        self._streams.drain(STOPPING, self.draw_retry)
        self._timer.add(OneTimeTask(self._abort_rest), self._timer.clock() + DRAIN_SECONDS)

    def draw_retry(self) -> int:
        """Return after how many milliseconds a client comes back, also one that asks for a stream during the drain."""
        return draw_return(self._options, self._seconds)

    def _abort_rest(self) -> None:
        self._streams.abort_drained("its client did not take its end")


def choose_return_seconds(options: Options, count: int) -> float:
    """Return over how many seconds this many clients should come back, so that half of each core is left for pages.

    Each worker that stops chooses for its own streams. All of them usually stop together, so the more workers share a
    core, the longer each needs. It is never less than ``SSEMUX_RETRY``, and never more than ``SSEMUX_RETURN_WITHIN``.
    """
    needed = count * opening_queue.cost / LOAD * max(1.0, _count_workers() / _count_cores())
    return max(options.retry / 1000, min(needed, options.return_within - options.retry / 2000))


def draw_return(options: Options, seconds: float) -> int:
    """Return a ``retry`` in milliseconds, drawn from so many seconds that begin with half of ``SSEMUX_RETRY``."""
    return max(1, int(options.retry / 2 + random.uniform(0.0, seconds * 1000)))


def _count_workers() -> int:
    return int(getattr(gunicorn_worker.find_settings(), "workers", 1))


def _count_cores() -> int:
    """Return how many cores this process may use; macOS and Windows only know how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
