"""Keeps a child that is forked from gunicorn's gevent worker from acting as a second worker.

The child has a copy of every greenlet, gunicorn's too, and the copies go on as soon as the child waits for anything.
One accepts connections from the socket that all workers share. One ends the process within a second, since its parent
is not gunicorn's master. Each of the others may read a client's next request, or write the rest of an answer.
This module stops the copies, and the parent notices nothing. It deals with gunicorn's own objects, not with streams.
The private parts of gunicorn that it uses are listed in ``gunicorn_worker.py``.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import sys
from _socket import socket as RawSocket  # gevent's has a loop's watchers
from types import FrameType
from typing import Any, Iterator

from ..util import forks


def leave_worker(worker: Any) -> None:
    """In a forked child: stop what gunicorn's worker was doing, if it is the worker of another process."""
    if not _is_left(worker):
        return
    # The method tells the master that the worker lives, and ends a worker whose master is gone.
    worker.notify = _exit_when_done
    servers = find_servers()
    for server in servers:
        server.stop_accepting()
        server.start_accepting = _accept_nothing  # it would start again when a connection of a full worker ends
    listeners = [listener for listener in worker.sockets if listener.fileno() >= 0]  # a worker that stops closes them
    addresses = [listener.getsockname() for listener in listeners] + [server.address for server in servers]
    for file in _find_files(addresses):
        forks.replace_file(file)


def _is_left(worker: Any) -> bool:
    """Return whether it is a gevent worker that runs in another process."""
    has_begun = isinstance(worker.pid, int)  # before that it is a text
    return has_begun and find_gevent_class(worker) is not None and not forks.is_this_process(worker.pid)


def find_gevent_class(worker: Any) -> Any:
    """Return gunicorn's class of gevent workers that this worker's class is, or is derived from; or None."""
    return next((kind for kind in type(worker).__mro__ if kind.__module__ == "gunicorn.workers.ggevent"), None)


def find_servers() -> Any:
    """Return gevent's servers, which only a variable of the worker's main greenlet refers to."""
    from gevent import get_hub, getcurrent

    main = get_hub().parent
    frame = sys._getframe() if main is getcurrent() else main.gr_frame
    found = [
        called
        for called in _callers(frame)
        if called.f_code.co_name == "run" and called.f_globals.get("__name__") == "gunicorn.workers.ggevent"
    ]
    return found[-1].f_locals.get("servers", ()) if found else ()


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _accept_nothing() -> None:
    """Replaces a server's ``start_accepting``."""


def _find_files(addresses: list[Any]) -> list[int]:
    """Return the open files that are listeners with these addresses, or connections that such a listener accepted.

    The kernel is asked, since a connection that was just accepted is known only to the arguments of a greenlet.
    """
    endpoints = {_get_endpoint(address) for address in addresses} - {None}
    return [file for file in map(int, os.listdir("/dev/fd")) if _read_endpoint(file) in endpoints]


def _read_endpoint(file: int) -> Any:
    """Return the endpoint of a stream socket; None for any other file."""
    try:
        found = RawSocket(fileno=file)
    except OSError:  # no socket, or the listing's own file, which is closed by now
        return None
    try:
        return _get_endpoint(found.getsockname()) if found.type == socket.SOCK_STREAM else None
    finally:
        found.detach()


def _get_endpoint(address: Any) -> Any:
    """Return what a listener's address has in common with those of its connections: a port or a path; None for none."""
    return address[1] if isinstance(address, tuple) else address or None


def _exit_when_done() -> None:
    """End the process if the greenlet that forked has ended, the only one of a child's own.

    Replaces ``notify`` of gunicorn's worker: gunicorn catches the SystemExit with which a view may end. ``sys.exit``
    here would wait for copies of the parent's greenlets, which never end.
    """
    if forks.has_forking_greenlet_ended():
        with contextlib.suppress(BaseException):  # Python has printed it; before 3.10 it raises it, too
            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)
