"""One clock for a worker: who is due a look, and when.

Members are looked at when they are due and say themselves when they are due
next: streams that were silent, and the few other things that happen by the
clock. One entry a member, in slots of a tick each, so the cost of a tick is that of
its members and does not grow with the number of all. No frames, no sockets.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Protocol

from ..util.supervise import Loop, attempt, survive
from .loop_lag import LoopLag

#: Looks between two moments in which others may run. A look may write: 2 to 3 ms of work.
TOGETHER = 200

#: Seconds of looks at most before others may run, if their last turn was as long: a flood of requests, which takes the
#: loop 50 ms a turn, may not leave the clock 3 ms of each.
SHARE = 0.02

#: Seconds until a member whose look raised is looked at again.
AGAIN = 1.0


class Member(Protocol):
    """Something that wants to be looked at by the clock.

    If a look raises, there is another one soon. Before that, a member that can be aborted (a stream) is.
    """

    #: Where the heart keeps it; None when it does not.
    timer_slot: int | None

    def run_due_work(self, now: float) -> float | None:
        """Do what is due; the time of the next look, or None for never."""


class TimerWheel:
    """Members by the time they are due. Time is passed in.

    :param tick: seconds that one slot spans. A member is looked at in the tick in which
        it is due: up to one tick early, never late by the clock's own doing.
    """

    def __init__(self, tick: float) -> None:
        self.tick = tick
        self._slots: dict[int, set[Member]] = {}
        self._looked_at: set[Member] = set()
        self._lock = threading.Lock()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, member: Member, due: float) -> None:
        with self._lock:
            self._put(member, int(due / self.tick))

    def remove(self, member: Member) -> None:
        """Forget a member; one that is not there is fine."""
        with self._lock:
            self._looked_at.discard(member)
            if member.timer_slot is not None:
                self._slots[member.timer_slot].discard(member)
                self._out(member)

    def run(self, now: float, breathe: Callable[[], None] = lambda: None) -> None:
        """Look at all that are due before the next tick, as of then.

        :param breathe: lets others run; called now and then.
        """
        last, looks = int(now / self.tick), 0
        for slot in self._due(last):
            member = self._next(slot)
            while member is not None:
                self._look(member, last)
                looks += 1
                if looks % TOGETHER == 0:
                    breathe()
                member = self._next(slot)

    def next_due(self) -> float | None:
        """The middle of the slot that is due next; None if nobody is."""
        with self._lock:
            slots = [slot for slot, members in self._slots.items() if members]
        return (min(slots) + 0.5) * self.tick if slots else None

    def _due(self, last: int) -> list[int]:
        with self._lock:
            return sorted(slot for slot in self._slots if slot <= last)

    def _next(self, slot: int) -> Member | None:
        """Take a member out for its look; None when the slot is empty, and gone."""
        with self._lock:
            members = self._slots[slot]
            if not members:
                del self._slots[slot]
                return None
            member = members.pop()
            self._out(member)
            self._looked_at.add(member)
            return member

    def _look(self, member: Member, last: int) -> None:
        now = (last + 1) * self.tick
        due: float | None = now + AGAIN
        try:
            due = member.run_due_work(now)
        except BaseException as error:
            survive("a look at a %s failed" % type(member).__name__, error)
            _abort(member)
        finally:
            self._put_back(member, due, last)

    def _put_back(self, member: Member, due: float | None, last: int) -> None:
        """Keep a member for its next look, unless it was removed, or added, during this one."""
        with self._lock:
            was_removed = member not in self._looked_at
            self._looked_at.discard(member)
            if due is not None and not was_removed and member.timer_slot is None:
                self._put(member, max(int(due / self.tick), last + 1))

    def _put(self, member: Member, slot: int) -> None:
        member.timer_slot = slot
        self._slots.setdefault(slot, set()).add(member)
        self._count += 1

    def _out(self, member: Member) -> None:
        member.timer_slot = None
        self._count -= 1


def _abort(member: Member) -> None:
    """End a stream whose look raised: nobody knows whether its client had its heartbeat."""
    abort = getattr(member, "abort", None)
    if abort is not None:
        attempt("a stream could not be ended", abort, "an error was raised while the stream was looked at")


class Timer:
    """Runs ``Slots`` by the real clock, in a thread (or greenlet) that lives while there are members.

    :param heartbeat: the longest silence that is asked for, in seconds; sets the tick.
    :param breathe: lets others run while many are looked at.
    :param pulse: is told of each turn.
    """

    #: Ticks in a heartbeat: a member is looked at up to this fraction of it early.
    FINENESS = 80

    def __init__(
        self,
        heartbeat: float,
        clock: Callable[[], float] = time.monotonic,
        breathe: Callable[[], None] = lambda: None,
        pulse: LoopLag | None = None,
    ) -> None:
        self.clock = clock
        self.pulse = pulse or LoopLag()
        self._breathe = breathe
        #: When others last had a turn, and for how long.
        self._breathed_at = self._breath_took = 0.0
        self._slots = TimerWheel(min(0.25, heartbeat / self.FINENESS))
        self._starting = threading.Lock()
        tick = self._slots.tick
        self._loop = Loop(
            "ssemux-heart", self._starting, self._is_needed, self._turn, tick, self._begin, self.pulse.end
        )
        self._is_over = False
        self._is_held = False
        self._looking = threading.Lock()

    def add(self, member: Member, due: float) -> None:
        """Look at a member for the first time at ``due``, in seconds of ``clock``."""
        self._slots.add(member, due)
        with self._starting:
            self._loop.start()

    def remove(self, member: Member) -> None:
        self._slots.remove(member)

    def forget(self) -> None:
        """In a forked child: greenlets live on there, and those that are looked at are the parent's."""
        self._is_over = True
        self.pulse.end()

    def hold(self) -> None:
        """Look at nobody but by ``look``, until ``release``: a test has its own time."""
        with self._looking:
            self._is_held = True
            self.pulse.due = float("inf")

    def release(self) -> None:
        self._is_held = False

    def look(self) -> None:
        """Look at all that are due, now."""
        self._slots.run(self.clock(), self._breathe)

    def next_due(self) -> float | None:
        """When somebody is due, to half a tick; None if nobody is."""
        return self._slots.next_due()

    def _begin(self) -> None:
        self.pulse.begin()
        with self._looking:
            if not self._is_held:
                self.pulse.turn(self.clock(), self._slots.tick)

    def _turn(self) -> None:
        with self._looking:
            if self._is_held:
                return
            now = self.clock()
            self.pulse.turn(now)
            try:
                self._slots.run(now, self._breath)
            finally:
                self.pulse.turn(self.clock(), self._slots.tick)

    def _breath(self) -> None:
        now = self.clock()
        self.pulse.turn(now)  # the looks before it were work of ours; what follows is others' turn
        if now - self._breathed_at < min(self._breath_took, SHARE):
            return
        self._breathe()
        self._breathed_at = self.clock()
        self._breath_took = self._breathed_at - now
        self.pulse.turn(self._breathed_at)

    def _is_needed(self) -> bool:
        return len(self._slots) > 0 and not self._is_over
