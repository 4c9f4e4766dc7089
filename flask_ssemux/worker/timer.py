"""The one clock of a process, in a thread (or greenlet) that runs while there is something to do by it.

It calls its members when they are due: streams that may need a heartbeat, and the worker's periodic work. A member
says itself when it is due next. No frames, no sockets.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from ..util import forks
from ..util.supervise import Loop
from .loop_lag import LoopLag
from .timer_wheel import Member, TimerWheel

#: Seconds that the timer works at least before others run again, if their last turn took as long. In a flood of
#: requests a turn of the loop takes 50 ms, and the timer must not be left with 3 ms of each.
SHARE = 0.02


class Timer:
    """Calls the members of a ``TimerWheel`` by the real clock.

    :param heartbeat: the longest silence of a stream, in seconds; sets the tick.
    :param clock: returns the time; members are added with times of this clock.
    :param yield_control: lets others run while many members are called.
    :param loop_lag: is notified of each turn.
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
        self._starting = threading.Lock()
        self._loop = Loop(
            "ssemux-timer",
            self._starting,
            self._is_needed,
            self._run_turn,
            self._wheel.tick,
            self._begin_loop,
            self.loop_lag.stop_watching,
        )
        self._is_stopped = False
        self._is_paused = False
        #: Held during each turn.
        self._turn = threading.Lock()

    def add(self, member: Member, due: float) -> None:
        """Call a member for the first time at ``due``, in seconds of ``clock``."""
        self._wheel.add(member, due)
        with self._starting:
            if self._loop.born != forks.generation:
                self._loop.start()

    def remove(self, member: Member) -> None:
        """Call a member no more."""
        self._wheel.remove(member)

    def stop(self) -> None:
        """Call no members any more. In a forked child too: the greenlet lives on there, with the parent's members."""
        self._is_stopped = True
        self.loop_lag.stop_watching()

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

    def _is_needed(self) -> bool:
        return len(self._wheel) > 0 and not self._is_stopped

    def _begin_loop(self) -> None:
        self.loop_lag.start_watching()
        with self._turn:
            if not self._is_paused:
                self.loop_lag.note_turn(self.clock(), self._wheel.tick)

    def _run_turn(self) -> None:
        with self._turn:
            if self._is_paused:
                return
            now = self.clock()
            self.loop_lag.note_turn(now)
            try:
                self._wheel.call_due_members(now, self._let_others_run)
            finally:
                self.loop_lag.note_turn(self.clock(), self._wheel.tick)

    def _let_others_run(self) -> None:
        """Yield, unless this turn has worked for less time than the last yield took."""
        now = self.clock()
        self.loop_lag.note_turn(now)  # the calls before it were the timer's own work; the time after it is others'
        if now - self._yielded_at < min(self._yield_took, SHARE):
            return
        self._yield_control()
        self._yielded_at = self.clock()
        self._yield_took = self._yielded_at - now
        self.loop_lag.note_turn(self._yielded_at)
