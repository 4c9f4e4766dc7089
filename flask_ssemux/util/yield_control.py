"""Lets other greenlets or threads run in the middle of long work."""

from __future__ import annotations

import time

from . import forks


def yield_to_greenlets() -> None:
    """Let every greenlet run that is ready now, and then what has come in: requests, and clients' ends."""
    forks.sleep(0)  # the hub takes them in the order they were woken
    turn_loop()


def turn_loop() -> None:
    """Let gevent's loop turn once. In a flood of requests thousands of greenlets are ready; not all are waited for."""
    from gevent import get_hub

    # It takes fifty turns of ready greenlets before it looks at the sockets; it looks before it calls an idle watcher.
    # Of the highest priority, or a busy loop would never call it.
    hub, born = get_hub(), forks.generation
    watcher = hub.loop.idle()
    watcher.priority = hub.loop.MAXPRI
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
    forks.halt_copy(born)


def yield_to_threads() -> None:
    """Let other threads run for a moment."""
    time.sleep(0.001)
