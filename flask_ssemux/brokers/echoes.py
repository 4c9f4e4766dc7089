"""The announcements of this process's own events: they say nothing new, since the publisher has delivered the event.

While a process publishes one event after another, its delivery thread lets the announcements gather for a moment, and
then receives all of them together: else it would be woken for each. No engine's details.
"""

from __future__ import annotations

import time

#: Seconds for which announcements gather; events that follow each other within this time are a burst. Events of other
#: processes come so much later, as long as a burst lasts.
GATHER_SECONDS = 0.001


class Echoes:
    """Notices bursts. The publishers note their events, and the delivery thread calls ``gather`` between two reads."""

    def __init__(self) -> None:
        self._noted_at = self._burst_until = 0.0

    def note_event(self) -> None:
        """This process has appended an event."""
        now = time.monotonic()
        if now - self._noted_at < GATHER_SECONDS:
            self._burst_until = now + GATHER_SECONDS
        self._noted_at = now

    def gather(self) -> None:
        """During a burst, wait for a moment; at other times return at once."""
        if time.monotonic() < self._burst_until:
            time.sleep(GATHER_SECONDS)
