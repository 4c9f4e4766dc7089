"""Supervised work: an error in one turn of a loop is logged, and the loop goes on.

Every loop of a process runs here, and so does every call that must not end a loop: no error stops heartbeats,
deliveries or reports permanently. What else follows from a failure is up to the caller. No streams, no events.
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

#: The maximum length of an error's text in a log line and in a report; the traceback has all of it.
ERROR_LENGTH = 500


def attempt(failure: str, work: Callable[..., object], *args: Any) -> bool:
    """Do this work, and return whether it succeeded. An error is logged with its traceback, each kind once a minute.

    An exception that ends a greenlet, a thread or the process is raised again.

    :param failure: the beginning of the log line.
    """
    try:
        work(*args)
    except BaseException as error:
        survive(failure, error)
        return False
    return True


def survive(failure: str, error: BaseException) -> None:
    """Log this error, or raise it again if it ends a greenlet, a thread or the process."""
    if is_end(error):
        raise error
    more = _throttle.count("%s: %s" % (failure, type(error).__name__), time.monotonic())
    if more is not None:
        log.error("%s: %s%s", failure, describe_error(error), more, exc_info=error)


def describe_error(error: BaseException) -> str:
    """Return an error's kind and text, cut to ``ERROR_LENGTH``."""
    kind = type(error).__name__
    try:  # ``repr`` of a ``UnicodeError`` quotes all of the data, which may be an event
        text = "%s(%s)" % (kind, error) if isinstance(error, UnicodeError) else repr(error)
    except Exception:  # the application's own __repr__ fails
        return kind
    return text if len(text) <= ERROR_LENGTH else text[: ERROR_LENGTH - 3] + "..."


def is_end(error: BaseException) -> bool:
    """Return whether this exception was raised to end a greenlet, a thread or the process.

    gevent's ``Timeout`` does not count as such an exception.
    """
    return isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)) or _is_greenlet_exit(error)


def _is_greenlet_exit(error: BaseException) -> bool:
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and isinstance(error, greenlet.GreenletExit)


class Loop:
    """A thread (or greenlet) that repeats its work for as long as the work is needed.

    :param name: of the thread.
    :param lock: held while ``is_needed`` is called, and while the thread is started.
    :param is_needed: returns whether there is another turn. It may wait on the lock, if that is a condition.
    :param turn: the work of one turn.
    :param pause: seconds before each turn.
    :param begin: the work that the thread does first.
    :param end: the work that the thread does last.
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
        #: The generation of the process in which the thread runs; None while it does not run.
        self.born: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the thread runs in this process. In a forked child its copy is halted."""
        return self.born == forks.generation

    def start(self) -> None:
        """Start the thread, unless it runs. The caller holds the lock.

        :raises RuntimeError: the system has no thread left.
        """
        if self.is_running:
            return
        self.born = forks.generation
        try:
            threading.Thread(target=self._run, args=(self.born,), name=self._name, daemon=True).start()
        except BaseException:
            self.born = None
            raise

    def _run(self, born: int) -> None:
        forks.halt_copy(born)
        try:
            attempt("%s began with an error" % self._name, self._begin)
            while self._run_turn(born):
                pass
        except BaseException:
            self.born = None  # the next call of start() starts it again
            raise
        finally:
            if born == forks.generation:
                attempt("%s ended with an error" % self._name, self._end)

    def _run_turn(self, born: int) -> bool:
        """Do one turn, if it is needed; return whether there may be another."""
        try:
            if not self._is_still_needed(born):
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

    def _is_still_needed(self, born: int) -> bool:
        with self._lock:
            is_needed = self._is_needed()
            forks.halt_copy(born)  # is_needed() may have waited
            if not is_needed:
                self.born = None
            return is_needed


#: Its kinds are a failure and a kind of error.
_throttle = LogThrottle()


def _renew_throttle() -> None:
    """In a forked child: another thread of the parent may have held the lock."""
    global _throttle
    _throttle = LogThrottle()


forks.call_in_child(_renew_throttle, forks.LOCKS)
