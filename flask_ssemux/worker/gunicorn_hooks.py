"""gunicorn's hooks, for its configuration file. What the hooks call is in other files."""

from __future__ import annotations

import gc
from typing import Any

from ..transports.private_parts import look_up_private_parts
from ..util import threads
from . import gunicorn_worker
from .worker import end_all_workers


def post_worker_init(worker: Any) -> None:
    """The worker is ready: its settings and its state are known from now on."""
    gunicorn_worker.adopt_worker(worker)
    look_up_private_parts()
    threads.find_loop()
    # All that is loaded by now stays as long as the process. Frozen objects are left out of Python's full collections,
    # which would write to memory pages that the worker shares with its master: 3.7 MB in a bare application.
    gc.collect()
    gc.freeze()


def worker_exit(arbiter: Any, worker: Any) -> None:
    """The worker stops: end its streams cleanly, and close the store."""
    end_all_workers()
