"""The one thread (or greenlet) of a process in which the timers of all its applications have their turns.

Turns begin at multiples of their timers' ticks, so that timers with the same tick have their turns together and the
process wakes up once for all of them. It runs while a timer has something to do.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import Protocol

from ..util import forks
from ..util.supervise import Loop, attempt
from .loop_lag import LoopLag

#: The part of a tick by which a turn comes after the tick's beginning: rounding must not put it before.
MARGIN = 0.01


class TurnTaker(Protocol):
    """A timer, as its turns are planned."""

    #: Measures how late the turns are. Several timers may share it.
    loop_lag: LoopLag

    @property
    def tick(self) -> float:
        """Seconds between two turns."""

    @property
    def is_needed(self) -> bool:
        """Whether there is another turn."""

    def run_turn(self) -> None:
        """Call what is due."""


class TimerLoop:
    """Gives timers their turns until they need none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: When each timer has its next turn, in seconds of the monotonic clock.
        self._turns: dict[TurnTaker, float] = {}
        #: Used by the thread only.
        self._watched: set[LoopLag] = set()
        self._loop = Loop(
            "ssemux-timer", self._changed, self._await_turn, self._run_turns, end=lambda: self._watch(set())
        )

    def add(self, timer: TurnTaker) -> None:
        """Give this timer turns from now on, if it has none."""
        with self._changed:
            if timer not in self._turns:
                self._turns[timer] = 0.0
                self._changed.notify_all()
            self._loop.start()

    def remove(self, timer: TurnTaker) -> None:
        """Stop giving this timer turns."""
        with self._changed:
            if self._turns.pop(timer, None) is not None:
                self._changed.notify_all()

    def has(self, timer: TurnTaker) -> bool:
        """Return whether the timer has turns."""
        return timer in self._turns

    def _await_turn(self) -> bool:
        """Wait until a timer has its turn; return whether one has. The lock is held, except during the wait."""
        while True:
            for timer in [timer for timer in self._turns if not timer.is_needed]:
                del self._turns[timer]
            if not self._turns:
                return False
            pause, born = min(self._turns.values()) - monotonic(), forks.generation
            if pause <= 0:
                return True
            self._changed.wait(pause)
            forks.halt_copy(born)

    def _run_turns(self) -> None:
        with self._changed:
            now = monotonic()
            self._watch({timer.loop_lag for timer in self._turns})
            due = [timer for timer, at in self._turns.items() if at <= now]
        for timer in due:
            try:
                attempt("a timer had an error, and goes on", timer.run_turn)
            finally:
                self._plan_turn(timer)

    def _plan_turn(self, timer: TurnTaker) -> None:
        with self._changed:
            if timer in self._turns:  # otherwise it was removed during its turn
                self._turns[timer] = (monotonic() // timer.tick + 1 + MARGIN) * timer.tick

    def _watch(self, lags: set[LoopLag]) -> None:
        """Watch these, and no others."""
        for lag in self._watched - lags:
            lag.stop_watching()
        for lag in lags - self._watched:
            lag.start_watching()
        self._watched = lags


_loop: TimerLoop | None = None
_making = threading.Lock()


def get_timer_loop() -> TimerLoop:
    """Return the loop of this process. The first call makes it: by then gevent has patched ``threading``."""
    global _loop
    if _loop is None:
        with _making:
            _loop = _loop or TimerLoop()
    return _loop


def _renew_loop() -> None:
    """In a forked child: the thread, its timers and its lock are the parent's."""
    global _loop, _making
    _loop = None
    _making = threading.Lock()


forks.call_in_child(_renew_loop, forks.LOCKS)
