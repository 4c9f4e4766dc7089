"""Log throttle: one log line of a kind per minute, with the number of lines that were left out.

For lines that a flood of clients would otherwise write into the log, one each. Time is passed in.
"""

from __future__ import annotations

import threading

#: Seconds between two lines of a kind.
LOG_INTERVAL = 60.0

#: The maximum number of kinds, and the name of all further ones.
KINDS = 200
OTHERS = "others"


class LogThrottle:
    """Counts events by their kind, and says when a line is due."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        #: Of each kind, when the last line was due, and the count as of then.
        self._logged: dict[str, tuple[float, int]] = {}

    def count(self, kind: str, now: float) -> str | None:
        """Count an event. Return what to add to its log line ("" for the first), or None if no line is due."""
        with self._lock:
            if kind not in self._counts and len(self._counts) >= KINDS:
                kind = OTHERS
            count = self._counts[kind] = self._counts.get(kind, 0) + 1
            logged_at, logged = self._logged.get(kind, (float("-inf"), count - 1))
            if now - logged_at < LOG_INTERVAL:
                return None
            self._logged[kind] = now, count
        left_out = count - 1 - logged
        return " (%d more since the last such line)" % left_out if left_out else ""

    @property
    def counts(self) -> dict[str, int]:
        """The number of events of each kind."""
        with self._lock:
            return dict(self._counts)
