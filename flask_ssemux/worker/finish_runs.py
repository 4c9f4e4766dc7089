"""Lets runs come to their end before a worker stops. Streams do not wait: their clients read on at another worker.

gunicorn's gevent worker waits for the greenlets of its servers, within ``graceful_timeout``, so one of them waits for
the runs. Other workers are kept waiting when they exit.
"""

from __future__ import annotations

import time
from typing import Any

from ..options import log
from ..runs.host import RunHost
from ..util import forks
from ..util.background import run_in_background
from . import gunicorn_worker
from .gunicorn_child import find_gevent_class, find_servers

#: Seconds before the end of ``graceful_timeout`` at which runs are given up, so that their readers hear of it; and the
#: part of ``graceful_timeout`` that runs have at least.
MARGIN, SHARE = 2.0, 0.5

#: Seconds that runs have if no server says how long they may take.
UNKNOWN_SECONDS = 0.5

#: Seconds between two looks whether runs have ended.
PAUSE = 0.05


class FinishRuns:
    """Waits for the runs of one application in this process.

    :param runs: of the process.
    """

    def __init__(self, runs: RunHost) -> None:
        self.runs = runs
        self._seconds = UNKNOWN_SECONDS
        self._deadline: float | None = None
        self._has_given_up = False

    def begin(self) -> None:
        """The worker is about to stop: keep it, while runs go on. Further calls do nothing."""
        if self._deadline is not None:
            return
        self.runs.stop_resuming()
        self._seconds = find_seconds()
        self._deadline = time.monotonic() + self._seconds
        count = self.runs.tasks.count_running()
        if count:
            log.info("the worker stops: it waits up to %.1f s for the end of %d runs", self._seconds, count)
            run_in_background("ssemux-finish", _keep_worker, self.finish)

    def finish(self) -> None:
        """Wait for the end of all runs. What goes on for too long is given up."""
        self.begin()
        while self.runs.tasks.count_running() and time.monotonic() < (self._deadline or 0.0):
            forks.sleep(PAUSE)
        if self.runs.tasks.count_running() and not self._has_given_up:
            self._has_given_up = True
            self.runs.give_up("the worker stops, and waits for runs for at most %.1f s" % self._seconds)


def find_seconds() -> float:
    """Return how many seconds the runs of a worker that stops may take."""
    worker, settings = gunicorn_worker.find_worker(), gunicorn_worker.find_settings()
    if worker is None or settings is None:
        return UNKNOWN_SECONDS
    seconds = float(settings.graceful_timeout)
    if find_gevent_class(worker) is None and settings.timeout:  # such a worker does not say that it lives meanwhile
        seconds = min(seconds, float(settings.timeout))
    return max(seconds * SHARE, seconds - MARGIN)


def _keep_worker(work: Any) -> None:
    """Have gunicorn's gevent worker wait for this work, as it waits for its requests."""
    worker = gunicorn_worker.find_worker()
    if worker is None or find_gevent_class(worker) is None:
        return
    for server in list(find_servers())[:1]:
        server.pool.spawn(work)
