"""Keeps work going whatever one turn of it raises: the error is logged, and the work goes on.

Every loop of a process runs here, and so does every call that must not end a loop: no error stops heartbeats,
deliveries or reports for ever. What else is done about a failure is the caller's to say. No streams, no events.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import Any, Callable, ContextManager

from . import forks
from .log_throttle import LogThrottle

log = logging.getLogger("flask_ssemux")

#: Seconds until a loop goes on after a turn that raised.
PAUSE = 0.5


def attempt(failure: str, work: Callable[..., object], *args: Any) -> bool:
    """Do this work; return whether it was done. What it raises is logged with its traceback, each kind once a minute.

    What is raised to end a greenlet, a thread or the process is raised on.

    :param failure: what the log says then, before the error.
    """
    try:
        work(*args)
    except BaseException as error:
        survive(failure, error)
        return False
    return True


def survive(failure: str, error: BaseException) -> None:
    """Log this error; raise it again if it must end whoever runs."""
    if is_end(error):
        raise error
    more = _throttle.count("%s: %s" % (failure, type(error).__name__), time.monotonic())
    if more is not None:
        log.error("%s: %r%s", failure, error, more, exc_info=error)


def is_end(error: BaseException) -> bool:
    """Whether this was raised to end a greenlet, a thread or the process; gevent's ``Timeout`` was not."""
    return isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)) or _is_greenlet_exit(error)


def _is_greenlet_exit(error: BaseException) -> bool:
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and isinstance(error, greenlet.GreenletExit)


class Loop:
    """A thread (or greenlet) that takes turns for as long as it is needed.

    :param name: of the thread.
    :param lock: held while it is asked whether it is needed, and while it is started.
    :param is_needed: whether there is another turn; it may wait on the lock, if that is a condition.
    :param turn: what is done each time.
    :param pause: seconds before each turn.
    :param begin: what the thread does first.
    :param end: what the thread does last.
    """

    def __init__(
        self,
        name: str,
        lock: ContextManager[Any],
        is_needed: Callable[[], bool],
        turn: Callable[[], object],
        pause: float = 0.0,
        begin: Callable[[], object] = lambda: None,
        end: Callable[[], object] = lambda: None,
    ) -> None:
        self._name = name
        self._lock = lock
        self._is_needed = is_needed
        self._turn = turn
        self._pause = pause
        self._begin = begin
        self._end = end
        #: The generation of the process in which it runs; None while it does not.
        self._born: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether it runs in this process: in a forked child it is halted."""
        return self._born == forks.generation

    def start(self) -> None:
        """Start it, unless it runs. The caller holds the lock.

        :raises RuntimeError: the system has no thread left.
        """
        if self.is_running:
            return
        self._born = forks.generation
        try:
            threading.Thread(target=self._run, args=(self._born,), name=self._name, daemon=True).start()
        except BaseException:
            self._born = None
            raise

    def _run(self, born: int) -> None:
        forks.halt_copy(born)
        try:
            attempt("%s began with an error" % self._name, self._begin)
            while self._goes_on(born):
                pass
        except BaseException:
            self._born = None  # whoever needs it next starts it again
            raise
        finally:
            if born == forks.generation:
                attempt("%s ended with an error" % self._name, self._end)

    def _goes_on(self, born: int) -> bool:
        """Take a turn, if one is needed; return whether there may be another."""
        try:
            if not self._has_a_turn(born):
                return False
            if self._pause:
                forks.sleep(self._pause)
            self._turn()
        except BaseException as error:
            if not is_end(error):
                forks.halt_copy(born)
            survive("%s had an error, and goes on" % self._name, error)
            forks.sleep(PAUSE)
        return True

    def _has_a_turn(self, born: int) -> bool:
        with self._lock:
            is_needed = self._is_needed()
            forks.halt_copy(born)  # it may have waited
            if not is_needed:
                self._born = None
            return is_needed


#: By the failure and the kind of error.
_throttle = LogThrottle()


def _renew_throttle() -> None:
    """In a forked child: another thread of the parent may have held its lock."""
    global _throttle
    _throttle = LogThrottle()


forks.call_in_child(_renew_throttle, forks.LOCKS)
