"""Who was told to stay away a moment ago, and is held off for a while although it names no cursor.

A browser's ``EventSource`` that was told to stay away says so when it comes back (its ``Last-Event-ID`` is ``stop``).
A script that opens a new ``EventSource`` after each end says nothing: only the server can know. Time is passed in;
orders and streams are not known here.
"""

from __future__ import annotations

import threading
from typing import Iterable, Optional, Tuple

#: Whom an order is for: a user, a channel, or a user on a channel.
Target = Tuple[Optional[str], Optional[str]]

#: Seconds for which a client without a cursor is held off. Scripts that reopen at once try again within seconds; a
#: person who logs in again should not wait for long.
HOLD = 60.0

#: Targets that are remembered.
TARGETS = 10_000


class StayAway:
    """Until when users and channels are held off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Target, float] = {}

    def add(self, target: Target, now: float, age: float = 0.0) -> None:
        """
        :param age: seconds since the order was given, as far as anybody knows.
        """
        until = now + HOLD - max(0.0, age)
        if until <= now:
            return
        with self._lock:
            self._until[target] = max(until, self._until.pop(target, until))
            if len(self._until) > TARGETS:
                del self._until[next(iter(self._until))]

    def is_held(self, user_id: str | None, channels: Iterable[str], now: float) -> bool:
        """Whether a client of this user, or one that reads one of these channels, is held off."""
        if not self._until:
            return False
        targets: list[Target] = [(None, channel) for channel in channels]
        if user_id is not None:
            targets.append((user_id, None))
        return any(self._until.get(target, now) > now for target in targets)
