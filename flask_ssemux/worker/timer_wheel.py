"""The members of a timer, ordered by the time at which they are due. Time is passed in; no thread runs here.

Each member has one entry, in the slot of the tick in which it is due. So the cost of a tick is the cost of its own
members and does not grow with the number of all members.
"""

from __future__ import annotations

import threading
from typing import Callable, Protocol

from ..util.supervise import attempt, survive

#: Members that are called between two moments in which others may run. A call may write: 2 to 3 ms of work.
TOGETHER = 200

#: Seconds until a member whose call raised is called again.
RETRY_AFTER = 1.0


class Member(Protocol):
    """Something that does its work by the timer.

    If a call raises, there is another one soon. Before that, a member that can be aborted (a stream) is aborted.
    """

    #: Where the timer keeps it; None if it is in no timer.
    timer_slot: int | None

    def run_due_work(self, now: float) -> float | None:
        """Do what is due. Return the time of the next call, or None for no further call."""


class TimerWheel:
    """Members by the tick in which they are due.

    :param tick: seconds that one slot spans. A member is called in the tick in which it is due: up to one tick early,
        and never late because of the wheel.
    """

    def __init__(self, tick: float) -> None:
        self.tick = tick
        self._slots: dict[int, set[Member]] = {}
        #: Members that are being called.
        self._called: set[Member] = set()
        self._lock = threading.Lock()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, member: Member, due: float) -> None:
        """Call a member at this time."""
        with self._lock:
            self._put(member, int(due / self.tick))

    def remove(self, member: Member) -> None:
        """Call a member no more. One that is not in the wheel is ignored."""
        with self._lock:
            self._called.discard(member)
            if member.timer_slot is not None:
                self._slots[member.timer_slot].discard(member)
                self._mark_removed(member)

    def call_due_members(self, now: float, yield_control: Callable[[], None] = lambda: None) -> None:
        """Call all members that are due before the next tick.

        :param yield_control: called now and then; lets others run.
        """
        last, calls = int(now / self.tick), 0
        for slot in self._list_due_slots(last):
            member = self._take_member(slot)
            while member is not None:
                due = self._call_member(member, last)
                calls += 1
                if calls % TOGETHER == 0:
                    self._put_back(member, due, last)
                    yield_control()
                    member = self._take_member(slot)
                else:
                    member = self._exchange_member(member, due, last, slot)

    def get_next_due(self) -> float | None:
        """Return the middle of the slot that is due next; None if there are no members."""
        with self._lock:
            slots = [slot for slot, members in self._slots.items() if members]
        return (min(slots) + 0.5) * self.tick if slots else None

    def _list_due_slots(self, last: int) -> list[int]:
        with self._lock:
            return sorted(slot for slot in self._slots if slot <= last)

    def _take_member(self, slot: int) -> Member | None:
        """Take a member out of its slot, to call it; None if the slot is empty, which deletes the slot."""
        with self._lock:
            return self._pop(slot)

    def _call_member(self, member: Member, last: int) -> float | None:
        """Call a member that was taken; return when it is due again, None for never. The caller puts it back."""
        now = (last + 1) * self.tick
        try:
            return member.run_due_work(now)
        except BaseException as error:
            try:
                survive("the timer's work for a %s failed" % type(member).__name__, error)
                _abort_stream(member)
            except BaseException:  # it ends this greenlet or thread
                self._put_back(member, now + RETRY_AFTER, last)
                raise
            return now + RETRY_AFTER

    def _put_back(self, member: Member, due: float | None, last: int) -> None:
        """Keep a member for its next call, unless it was removed, or added, during this one."""
        with self._lock:
            self._keep(member, due, last)

    def _exchange_member(self, member: Member, due: float | None, last: int, slot: int) -> Member | None:
        """Put this member back and take the next one: each time the lock is taken costs a tenth of a heartbeat."""
        with self._lock:
            self._keep(member, due, last)
            return self._pop(slot)

    # -- the lock is held ----------------------------------------------------

    def _pop(self, slot: int) -> Member | None:
        members = self._slots[slot]
        if not members:
            del self._slots[slot]
            return None
        member = members.pop()
        self._mark_removed(member)
        self._called.add(member)
        return member

    def _keep(self, member: Member, due: float | None, last: int) -> None:
        was_removed = member not in self._called
        self._called.discard(member)
        if due is not None and not was_removed and member.timer_slot is None:
            self._put(member, max(int(due / self.tick), last + 1))

    def _put(self, member: Member, slot: int) -> None:
        member.timer_slot = slot
        self._slots.setdefault(slot, set()).add(member)
        self._count += 1

    def _mark_removed(self, member: Member) -> None:
        member.timer_slot = None
        self._count -= 1


def _abort_stream(member: Member) -> None:
    """End a stream whose call raised: it is not known whether its client was sent its heartbeat."""
    abort = getattr(member, "abort", None)
    if abort is not None:
        attempt("a stream could not be ended", abort, "an error was raised in the timer's work for this stream")
