"""What the hub needs of the process's timer. The timer itself is in ``worker``, which the hub does not import."""

from __future__ import annotations

from typing import Callable, Protocol


class TimerMember(Protocol):
    """What the timer calls when it is due."""

    #: Where the timer keeps it; None if it is in no timer.
    timer_slot: int | None

    def run_due_work(self, now: float) -> float | None:
        """Do what is due. Return the time of the next call, or None for no further call."""


class Timer(Protocol):
    """Calls its members when they are due."""

    #: Returns the time, in seconds.
    clock: Callable[[], float]

    def add(self, member: TimerMember, due: float) -> None:
        """Call a member at this time of the clock."""

    def remove(self, member: TimerMember) -> None:
        """Call a member no more. One that the timer does not have is ignored."""
