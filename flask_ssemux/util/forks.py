"""What happens at a fork: one registry for the process, in a defined order.

A forked child has a copy of all that its parent has: connections, locks that other threads hold, and under gevent
every greenlet, which goes on in the child as soon as the child waits for something. Modules that own such things
register here what is done before a fork, after it, and in the child. None of these functions may wait for a lock:
in the child its holder may be a thread that does not exist there.

The registry knows no other module of the package.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import weakref
from typing import Any, Callable, Iterator

log = logging.getLogger("flask_ssemux")

#: The order in which things are done in a child: locks are made anew, then what is open is let go of, then objects
#: forget what was the parent's.
LOCKS, FILES, OBJECTS = range(3)

#: Grows by one with each fork that led to this process.
generation = 0

_functions: list[tuple[int, Callable[[], None]]] = []
_owners: weakref.WeakSet[Any] = weakref.WeakSet()
_process = os.getpid()
_noticing = threading.Lock()
#: The greenlet that forked, in the child: the one that is no copy.
_forking: weakref.ref[Any] | None = None
#: What inherited connections are replaced by, in this child.
_dead_end: socket.socket | None = None


def call_in_child(function: Callable[[], None], stage: int) -> None:
    """Call this function in every child, at this stage."""
    _functions.append((stage, function))
    _functions.sort(key=lambda entry: entry[0])


def follow(owner: Any) -> None:
    """Call an object's ``disown`` in every child, and its ``prepare_fork`` and ``finish_fork`` around a fork.

    :param owner: may lack some of the three methods. It is kept by a weak reference.
    """
    _owners.add(owner)


def notice_fork() -> None:
    """Do in this child what is due, if it was forked without Python's knowledge, as uWSGI's workers are."""
    if os.getpid() != _process:
        with _noticing:
            if os.getpid() != _process:
                _begin_child()


def halt_copy(born: int) -> None:
    """Return if this process is of that generation; a copy of a parent's greenlet is kept here for ever.

    It is called after a wait, and with the generation from before the wait.
    """
    notice_fork()
    if born == generation or "gevent" not in sys.modules:
        return  # without gevent a child has one thread: the one that forked
    from gevent import Timeout, get_hub, getcurrent

    while _forking is None or getcurrent() is not _forking():
        try:
            get_hub().switch()
        except Timeout:
            pass  # it was to end a wait of the parent's


def is_over() -> bool:
    """In a child under gevent: whether the greenlet that forked has ended."""
    forking = None if _forking is None else _forking()
    return forking is None or bool(forking.dead)


def sleep(seconds: float) -> None:
    """Sleep; a copy of the caller in a forked child does not wake up."""
    born = generation
    time.sleep(seconds)
    halt_copy(born)


def replace_file(file: int) -> None:
    """Let a connection that this child inherited end here, and only here: nothing that still uses its number can reach
    the parent's connection, or a file that this child opens."""
    if file >= 0:
        os.dup2(_make_dead_end().fileno(), file, inheritable=False)


def _make_dead_end() -> socket.socket:
    """A socket whose reader finds the end, and whose writer gets an error."""
    global _dead_end
    if _dead_end is None:
        _dead_end, other = socket.socketpair()
        _dead_end.setblocking(False)
        other.close()
    return _dead_end


def _prepare() -> None:
    for prepare in _methods("prepare_fork"):
        _call(prepare)


def _finish() -> None:
    for finish in _methods("finish_fork"):
        _call(finish)


def _begin_child() -> None:
    global generation, _process, _forking, _noticing, _dead_end
    _process = os.getpid()
    generation += 1
    _dead_end = None  # one that was inherited is the parent's, too
    _noticing = threading.Lock()
    if "gevent" in sys.modules:
        from gevent import getcurrent

        _forking = weakref.ref(getcurrent())
    for _, function in _functions:
        _call(function)
    for disown in _methods("disown"):
        _call(disown)
    if "gevent" in sys.modules:
        from gevent import reinit

        reinit()  # gevent's own fork does it, too; a fork for a ``preexec_fn`` does not


def _methods(name: str) -> Iterator[Callable[[], None]]:
    found = (getattr(owner, name, None) for owner in list(_owners))
    return (method for method in found if method is not None)


def _call(function: Callable[[], None]) -> None:
    """One that fails does not keep the others from being called."""
    try:
        function()
    except Exception:
        log.exception("%r failed at a fork", function)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_prepare, after_in_parent=_finish, after_in_child=_begin_child)
