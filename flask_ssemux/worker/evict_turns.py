"""How soon a user's next stream may end the user's oldest one again.

A person who opens one more tab sees it work at once. Pages that open a new stream after each end would end each
other's for ever: after some turns each next one waits twice as long. Time is passed in; no streams are known here.
"""

from __future__ import annotations

import threading

#: Turns that are free, besides one for each stream that the user may hold.
FREE = 2

#: Seconds until the first turn that is not free; and at most.
PAUSE, LONGEST = 10.0, 300.0

#: Seconds without a turn, when one was due, after which a user's turns are forgotten.
FORGOTTEN = 60.0

#: Users that are remembered.
USERS = 10_000


class EvictionTurns:
    """The turns of each user, over all processes.

    :param limit: streams that a user may hold.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit + FREE
        self._lock = threading.Lock()
        #: How many turns in a row, and when the last one was; the user with the oldest one first.
        self._of: dict[str, tuple[int, float]] = {}

    def take(self, user_id: str, now: float) -> None:
        """A stream of this user has ended the oldest one."""
        with self._lock:
            count, last = self._of.pop(user_id, (0, now))
            if now > last + self._pause(count) + FORGOTTEN:
                count = 0
            self._of[user_id] = count + 1, now
            if len(self._of) > USERS:
                del self._of[next(iter(self._of))]

    def due_in(self, user_id: str, now: float) -> float:
        """Seconds until the next turn of this user; 0 for now."""
        with self._lock:
            count, last = self._of.get(user_id, (0, now))
        return max(0.0, last + self._pause(count) - now)

    def _pause(self, count: int) -> float:
        beyond = count - self._free
        return 0.0 if beyond < 0 else min(LONGEST, PAUSE * 2.0 ** min(beyond, 10))
