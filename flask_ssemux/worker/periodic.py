"""Work that the timer does: once, or periodically for as long as the process lives."""

from __future__ import annotations

from typing import Callable


class OneTimeTask:
    """A member of the timer that does its work once."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.timer_slot: int | None = None
        self._work = work

    def run_due_work(self, now: float) -> None:
        self._work()


class PeriodicTask:
    """A member of the timer that does its work every ``interval`` seconds."""

    def __init__(self, work: Callable[[], None], interval: float) -> None:
        self.timer_slot: int | None = None
        self._work = work
        self._interval = interval

    def run_due_work(self, now: float) -> float:
        self._work()
        return now + self._interval
