"""How soon a user's next stream may evict the user's oldest one again.

A person who opens one more tab sees it work at once. Pages that open a new stream after each end would evict each
other's streams without end: after some evictions, each next one has to wait twice as long. Time is passed in. No
streams are known here.
"""

from __future__ import annotations

import threading

#: Evictions without a delay, besides one for each stream that the user may have.
FREE_EVICTIONS = 2

#: Seconds before the first eviction that is delayed, and the maximum.
FIRST_DELAY, MAX_DELAY = 10.0, 300.0

#: Seconds without an eviction, although one was allowed, after which a user's evictions are forgotten.
FORGOTTEN_AFTER = 60.0

#: The maximum number of users that are remembered.
USERS = 10_000


class EvictionBackoff:
    """The evictions of each user, over all processes.

    :param limit: the per-user limit.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit + FREE_EVICTIONS
        self._lock = threading.Lock()
        #: How many evictions in a row, and the time of the last; the user whose last one is oldest comes first.
        self._evictions: dict[str, tuple[int, float]] = {}

    def note_eviction(self, user_id: str, now: float) -> None:
        """A new stream of this user has evicted the oldest one."""
        with self._lock:
            count, last = self._evictions.pop(user_id, (0, now))
            if now > last + self._get_delay_after(count) + FORGOTTEN_AFTER:
                count = 0
            self._evictions[user_id] = count + 1, now
            if len(self._evictions) > USERS:
                del self._evictions[next(iter(self._evictions))]

    def get_delay(self, user_id: str, now: float) -> float:
        """Return the seconds until this user's next eviction; 0 for now."""
        with self._lock:
            count, last = self._evictions.get(user_id, (0, now))
        return max(0.0, last + self._get_delay_after(count) - now)

    def _get_delay_after(self, count: int) -> float:
        beyond = count - self._free
        return 0.0 if beyond < 0 else min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(beyond, 10))
