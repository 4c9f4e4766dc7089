"""A child that is forked from gunicorn's gevent worker is no second worker.

gevent copies every greenlet into the child, gunicorn's too, and they go on as soon as the child waits for anything: one
accepts connections from the socket that all workers share, one ends the process within a second, since its parent is
not gunicorn's master, and each of the others may read the next request of a client, or write the rest of an answer.
Here the copies are kept from that. The parent notices nothing. Only gunicorn's own objects, no streams.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any, Iterator

from . import forks


def leave_worker(worker: Any) -> None:
    """In a forked child: let go of what this worker was doing, if it is the parent's.

    :param worker: gunicorn's.
    """
    if getattr(worker, "pid", None) != os.getppid() or type(worker).__module__ != "gunicorn.workers.ggevent":
        return
    from gevent import get_hub, getcurrent

    forking = getcurrent()
    # The method tells the master that the worker lives, and ends a worker whose master is gone.
    worker.notify = lambda: _exit_after(forking)
    for server in _find_local(get_hub().parent.gr_frame, "gunicorn.workers.ggevent", "run", "servers") or ():
        server.stop_accepting()
        for greenlet in list(server.pool or ()):
            frame = sys._getframe() if greenlet is forking else greenlet.gr_frame
            client = _find_local(frame, "gunicorn.workers.base_async", "handle", "client")
            if client is not None:
                forks.replace_file(client.fileno())


def _find_local(frame: FrameType | None, module: str, function: str, name: str) -> Any:
    """A variable of the outermost call of this function; None if it is not being called."""
    found = [
        called
        for called in _callers(frame)
        if called.f_code.co_name == function and called.f_globals.get("__name__") == module
    ]
    return found[-1].f_locals.get(name) if found else None


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _exit_after(forking: Any) -> None:
    """End a child whose one greenlet of its own has ended: gunicorn catches the SystemExit of a view."""
    if forking.dead:
        sys.exit(0)
