"""What happens at a fork: the one registry of the process, in a defined order.

A forked child has a copy of all that its parent has: connections, locks that other threads hold, and under gevent
every greenlet, which goes on in the child as soon as the child waits for something. Modules that own such things
register here what is done before a fork, after it, and in the child. None of these functions may wait for a lock:
in the child, the thread that holds it may not exist.

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
from typing import Any, Callable, Iterable, Iterator

log = logging.getLogger("flask_ssemux")

#: The order in which functions are called in a child: first locks are created again, then inherited files are replaced,
#: then objects drop the parent's state.
LOCKS, FILES, OBJECTS = range(3)

#: Grows by one with each fork that led to this process.
generation = 0

_functions: list[tuple[int, Callable[[], None]]] = []
_owners: weakref.WeakSet[Any] = weakref.WeakSet()
#: The id of this process.
process_id = os.getpid()
_noticing = threading.Lock()
#: In a child, the greenlet that forked: the only one that is not a copy.
_forking_greenlet: weakref.ref[Any] | None = None
#: In a child, the copies of greenlets, which never go on.
_copies: list[Any] = []
#: In a child, what replaces inherited connections.
_dead_end: socket.socket | None = None


def call_in_child(function: Callable[[], None], stage: int) -> None:
    """Call this function in every child, at this stage."""
    _functions.append((stage, function))
    _functions.sort(key=lambda entry: entry[0])


def register_owner(owner: Any) -> None:
    """Call an object's ``disown`` in every child, and its ``prepare_fork`` and ``finish_fork`` around a fork.

    :param owner: may lack some of the three methods. The registry keeps it by a weak reference.
    """
    _owners.add(owner)


def notice_fork() -> None:
    """Do what is due in this child, if it was forked without Python's knowledge, as uWSGI's workers are."""
    if os.getpid() != process_id:
        with _noticing:
            if os.getpid() != process_id:
                _begin_child()


def is_this_process(number: int) -> bool:
    """Return whether this process has this id; a forked child has another one than its parent."""
    return number == process_id


def halt_copy(born: int) -> None:
    """Return if this process is of that generation; if not, never let this copy of a parent's greenlet continue.

    :param born: the generation before the wait, after which this is called.
    """
    notice_fork()
    if born == generation or "gevent" not in sys.modules:
        return  # without gevent a child has one thread: the one that forked
    from gevent import Timeout, get_hub, getcurrent

    keep_copies([getcurrent()])
    while is_copy(getcurrent(), born):
        try:
            get_hub().switch()
        except Timeout:
            pass  # it was to end a wait of the parent's


def is_copy(greenlet: Any, born: int) -> bool:
    """Return whether a greenlet of that generation is a copy of a parent's: its original goes on in the parent."""
    return born != generation and (_forking_greenlet is None or greenlet is not _forking_greenlet())


def keep_copies(greenlets: Iterable[Any]) -> None:
    """In a child: keep these copies. One to which nothing refers would be ended, and run its ``finally`` blocks."""
    _copies.extend(greenlets)


def has_forking_greenlet_ended() -> bool:
    """In a child under gevent: return whether the greenlet that forked has ended."""
    forking = None if _forking_greenlet is None else _forking_greenlet()
    return forking is None or bool(forking.dead)


def sleep(seconds: float) -> None:
    """Sleep. A copy of the caller in a forked child does not wake up."""
    born = generation
    time.sleep(seconds)
    halt_copy(born)


def replace_file(file: int) -> None:
    """End a connection that this child inherited, in this process only.

    What still uses its number can reach neither the parent's connection nor a file that this child opens.
    """
    if file >= 0:
        os.dup2(_make_dead_end().fileno(), file, inheritable=False)


def _make_dead_end() -> socket.socket:
    """Return a socket whose reader finds the end, and whose writer gets an error."""
    global _dead_end
    if _dead_end is None:
        _dead_end, other = socket.socketpair()
        _dead_end.setblocking(False)
        other.close()
    return _dead_end


def _prepare_fork() -> None:
    for prepare_fork in _list_methods("prepare_fork"):
        _call(prepare_fork)


def _finish_fork() -> None:
    for finish_fork in _list_methods("finish_fork"):
        _call(finish_fork)


def _begin_child() -> None:
    global generation, process_id, _forking_greenlet, _noticing, _dead_end
    process_id = os.getpid()
    generation += 1
    _dead_end = None  # one that was inherited is the parent's, too
    _noticing = threading.Lock()
    if "gevent" in sys.modules:
        from gevent import getcurrent

        _forking_greenlet = weakref.ref(getcurrent())
    for _, function in _functions:
        _call(function)
    for disown in _list_methods("disown"):
        _call(disown)
    if "gevent" in sys.modules:
        from gevent import reinit

        reinit()  # gevent's own fork does it, too; a fork for a ``preexec_fn`` does not


def _list_methods(name: str) -> Iterator[Callable[[], None]]:
    found = (getattr(owner, name, None) for owner in list(_owners))
    return (method for method in found if method is not None)


def _call(function: Callable[[], None]) -> None:
    """Call a function. If it fails, log the error, so that the others are still called."""
    try:
        function()
    except Exception:
        log.exception("%r failed at a fork", function)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_prepare_fork, after_in_parent=_finish_fork, after_in_child=_begin_child)
