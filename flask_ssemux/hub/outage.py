"""Tells all clients when the broker has been away for longer than a heartbeat, and when it is back."""

from __future__ import annotations

from typing import Callable

from ..options import log
from ..sse import encode
from .timing import Timer

DEGRADED = encode.make_own_frame("degraded", {})
RESTORED = encode.make_own_frame("restored", {})


class OutageNotice:
    """A member of the timer while the broker is away.

    :param delay: seconds after which clients are notified of an outage.
    :param send: sends a frame to all streams.
    """

    def __init__(self, timer: Timer, delay: float, send: Callable[[bytes], None]) -> None:
        self.timer_slot: int | None = None
        self._timer = timer
        self._delay = delay
        self._send = send
        #: Whether clients have been notified that the broker is away, and not yet that it is back.
        self.is_announced = False

    def begin(self, reason: str) -> None:
        """The broker cannot be reached."""
        log.error("the broker cannot be reached: %s", reason)
        self._timer.add(self, self._timer.clock() + self._delay)

    def end(self) -> None:
        """The broker can be reached again."""
        log.warning("the broker can be reached again")
        self._timer.remove(self)
        if self.is_announced:
            self.is_announced = False
            self._send(RESTORED)

    def run_due_work(self, now: float) -> None:
        self.is_announced = True
        self._send(DEGRADED)
