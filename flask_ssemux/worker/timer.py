"""The clock of an application's streams and of its worker's periodic work.

It calls its members when they are due: streams that may need a heartbeat, and the worker's periodic work. A member
says itself when it is due next. When the timer has its turns is decided in ``timer_loop.py``, for all timers of the
process. No frames, no sockets.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from .loop_lag import LoopLag
from .timer_loop import get_timer_loop
from .timer_wheel import Member, TimerWheel

#: Seconds that the timer works at least before others run again, if their last turn took as long. In a flood of
#: requests a turn of the loop takes 50 ms, and the timer must not be left with 3 ms of each.
SHARE = 0.02


class Timer:
    """Calls the members of a ``TimerWheel`` by the real clock.

    :param heartbeat: the longest silence of a stream, in seconds; sets the tick.
    :param clock: returns the time; members are added with times of this clock.
    :param yield_control: lets others run while many members are called.
    :param loop_lag: is notified of each turn; by default one of this timer alone.
    """

    #: Ticks in a heartbeat: a member is called up to this fraction of a heartbeat early.
    FINENESS = 80

    def __init__(
        self,
        heartbeat: float,
        clock: Callable[[], float] = time.monotonic,
        yield_control: Callable[[], None] = lambda: None,
        loop_lag: LoopLag | None = None,
    ) -> None:
        #: The clock of all streams. A test may replace it, so it is read from here for each use.
        self.clock = clock
        self.loop_lag = loop_lag or LoopLag()
        self._yield_control = yield_control
        #: When others last had a turn, and for how long.
        self._yielded_at = self._yield_took = 0.0
        self._wheel = TimerWheel(min(0.25, heartbeat / self.FINENESS))
        self._is_stopped = False
        self._is_paused = False
        #: Held during each turn.
        self._turn = threading.Lock()

    def add(self, member: Member, due: float) -> None:
        """Call a member for the first time at ``due``, in seconds of ``clock``."""
        self._wheel.add(member, due)
        if self.is_needed:
            get_timer_loop().add(self)

    def remove(self, member: Member) -> None:
        """Stop calling a member."""
        self._wheel.remove(member)

    def stop(self) -> None:
        """Call no members any more. In a forked child too: there they are the parent's."""
        self._is_stopped = True
        get_timer_loop().remove(self)

    def pause(self) -> None:
        """Call members only by ``call_due_members``, until ``resume``: a test has a clock of its own."""
        with self._turn:
            self._is_paused = True
            self.loop_lag.due = float("inf")

    def resume(self) -> None:
        """Call members by the real clock again."""
        self._is_paused = False

    def call_due_members(self) -> None:
        """Call all members that are due now."""
        self._wheel.call_due_members(self.clock(), self._yield_control)

    def get_next_due(self) -> float | None:
        """Return when the next member is due, to half a tick; None if there are no members."""
        return self._wheel.get_next_due()

    # -- turns, which the loop of the process gives --------------------------

    @property
    def tick(self) -> float:
        return self._wheel.tick

    @property
    def is_needed(self) -> bool:
        return len(self._wheel) > 0 and not self._is_stopped

    def run_turn(self) -> None:
        """Call all members that are due, unless the timer is paused."""
        with self._turn:
            if self._is_paused or self._is_stopped:
                return
            self.loop_lag.note_turn(time.monotonic())
            try:
                self._wheel.call_due_members(self.clock(), self._let_others_run)
            finally:
                self.loop_lag.note_turn(time.monotonic(), self.tick)

    def _let_others_run(self) -> None:
        """Yield, unless this turn has worked for less time than the last yield took."""
        now = self.clock()
        self.loop_lag.note_turn(time.monotonic())  # the calls before it were the timer's work; what follows is others'
        if now - self._yielded_at < min(self._yield_took, SHARE):
            return
        self._yield_control()
        self._yielded_at = self.clock()
        self._yield_took = self._yielded_at - now
        self.loop_lag.note_turn(time.monotonic())
