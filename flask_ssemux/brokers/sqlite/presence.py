"""What processes report of themselves, and who is there. No events, no places."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .. import base
from ..base import Streams
from .limits import CLOCK_BACK

if TYPE_CHECKING:
    from .file import File

DAY = 86400.0


class Presence:
    """What each process said last of itself and of its streams. Used with the broker's lock held."""

    def __init__(self, file: File) -> None:
        self._file = file

    def report(self, holder: str, text: str) -> None:
        now = time.time()
        # One that is yet to come is of a clock that was ahead: whoever lives reports again.
        self._file.write("DELETE FROM reports WHERE at < ? OR at > ?", (now - base.REPORT_LASTS, now + CLOCK_BACK))
        self._file.write("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", (holder, now, text))

    def reports(self) -> list[tuple[str, float, str]]:
        now = time.time()
        rows = self._file.read(
            "SELECT holder, ? - at, figures FROM reports WHERE at >= ?",
            (now, now - base.REPORT_LASTS),
        )
        return [(holder, age, text) for holder, age, text in rows]

    # -- who is there ------------------------------------------------------

    def present(self, holder: str, streams: Streams, lasts: float, anew: bool) -> bool:
        write, now = self._file.write, time.time()
        self._forget_absent(now, now + lasts)
        was_there = write("SELECT 1 FROM present WHERE holder = ?", (holder,)).fetchone() is not None
        if anew:
            self.forget(holder)
        write("INSERT OR REPLACE INTO present VALUES (?, ?)", (holder, now + lasts))
        for (channel, user), count in streams.items():
            if count:
                write("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", (channel, user, holder, count))
            else:
                write("DELETE FROM presence WHERE channel = ? AND user = ? AND holder = ?", (channel, user, holder))
        return was_there

    def presence(self, channel: str) -> list[tuple[str, str, int]]:
        rows = self._file.read(
            "SELECT holder, user, streams FROM presence JOIN present USING (holder) WHERE channel = ? AND until > ?",
            (channel, time.time()),
        )
        return [(holder, user, streams) for holder, user, streams in rows]

    def _forget_absent(self, now: float, latest: float) -> None:
        """Processes that are gone. One that counts for longer than any is of a clock that was ahead."""
        for holder, until in self._file.write("SELECT holder, until FROM present").fetchall():
            if until <= now or base.is_dead(holder):
                self.forget(holder)
            elif until > latest + DAY:
                self._file.write("UPDATE present SET until = ? WHERE holder = ?", (latest, holder))

    def forget(self, holder: str) -> None:
        self._file.write("DELETE FROM presence WHERE holder = ?", (holder,))
        self._file.write("DELETE FROM present WHERE holder = ?", (holder,))
