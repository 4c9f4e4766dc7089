"""Which clients were stopped a moment ago, and are refused for a while even if they send no cursor.

A browser's ``EventSource`` that was stopped sends ``stop`` as its ``Last-Event-ID`` when it comes back. A
script that opens a new ``EventSource`` after each end sends nothing, so only the server can know. Time is passed in;
revocation messages and streams are not known here.
"""

from __future__ import annotations

import threading
from typing import Iterable, Optional, Tuple

#: For whom a revocation is: a user, a channel, or a user on a channel.
Target = Tuple[Optional[str], Optional[str]]

#: Seconds for which a client without a cursor is refused. Scripts that open a new stream at once try again within
#: seconds; a person who logs in again should not wait for long.
HOLD = 60.0

#: How many targets are remembered.
TARGETS = 10_000


class StayAway:
    """Until when users and channels are refused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Until when each target is refused. The oldest entries come first.
        self.until: dict[Target, float] = {}

    def add(self, target: Target, now: float, age: float = 0.0) -> None:
        """
        :param age: seconds since the revocation was sent, as far as is known.
        """
        until = now + HOLD - max(0.0, age)
        if until <= now:
            return
        with self._lock:
            self.until[target] = max(until, self.until.pop(target, until))
            if len(self.until) > TARGETS:
                del self.until[next(iter(self.until))]

    def is_held(self, user_id: str | None, channels: Iterable[str], now: float) -> bool:
        """Return whether a client of this user, or one that reads one of these channels, is refused."""
        return any(self.until.get(target, now) > now for target in list_targets(user_id, channels))


def list_targets(user_id: str | None, channels: Iterable[str]) -> list[Target]:
    """Return the targets that mean a client of this user that reads these channels."""
    targets: list[Target] = [(None, channel) for channel in channels]
    if user_id is not None:
        targets.append((user_id, None))
    return targets
