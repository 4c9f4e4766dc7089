"""What is said once a minute at most, and how often it was not said meanwhile.

For lines that a flood of clients would otherwise write into the log, one each. Time is passed in.
"""

from __future__ import annotations

import threading

#: Seconds between two lines about the same thing.
QUIET = 60.0

#: Names that are told apart, and that of all others.
NAMES = 200
OTHERS = "others"


class LogThrottle:
    """Counts what happens, by its name, and says when it is time for a line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._said: dict[str, tuple[float, int]] = {}

    def count(self, what: str, now: float) -> str | None:
        """It happened: what to add to the line that says so ("" to the first), or None for no line."""
        with self._lock:
            if what not in self._counts and len(self._counts) >= NAMES:
                what = OTHERS
            count = self._counts[what] = self._counts.get(what, 0) + 1
            said_at, said = self._said.get(what, (float("-inf"), count - 1))
            if now - said_at < QUIET:
                return None
            self._said[what] = now, count
        unsaid = count - 1 - said
        return " (%d more since the last such line)" % unsaid if unsaid else ""

    @property
    def counts(self) -> dict[str, int]:
        """How often each happened, said or not."""
        with self._lock:
            return dict(self._counts)
