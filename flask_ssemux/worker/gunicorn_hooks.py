"""gunicorn's hooks, for its configuration file. What they cause is done elsewhere."""

from __future__ import annotations

import gc
from typing import Any

from ..util import threads
from . import gunicorn_worker
from .worker import end_all_workers


def post_worker_init(worker: Any) -> None:
    """The worker is ready: its settings and its state are known from now on."""
    gunicorn_worker.adopt_worker(worker)
    threads.find_loop()
    # What is loaded by now stays. Python's full collections need not walk it again, which would also
    # make this worker's own what it shares with the master: 3.7 MB of a bare application.
    gc.collect()
    gc.freeze()


def worker_exit(arbiter: Any, worker: Any) -> None:
    """The worker stops: end its streams cleanly, and close the store."""
    end_all_workers()
