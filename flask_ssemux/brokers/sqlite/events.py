"""Events in their order: appended, looked for, trimmed. Reading them again is ``reading.py``'s.

No places, no presence; no threads.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from ...wire import Cursor
from ..base import Record, Wanted, log

if TYPE_CHECKING:
    from .file import File

#: Trimming by age has a round after so many seconds, or so many appends, whichever is first.
TRIM_SECONDS = 1.0
TRIM_APPENDS = 100

#: Events that one look, and one round of trimming, take at most. Far over ``TRIM_APPENDS``,
#: so that trimming keeps up with any rate of appends without ever being long.
BATCH = 500

#: Floors kept of channels that have no event left; the lowest half goes at more.
FLOORS = 100_000

#: Seconds between two counts of them.
FLOORS_SECONDS = 60.0

RECORD = "sequence, channel, body, latest"


class Events:
    """The history. Used with the broker's lock held."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._seen = -1
        self._appended = 0
        self._trimmed_at = self._forgot_at = 0.0

    def append(self, channel: str, body: bytes, latest: str | None) -> Cursor:
        write = self._file.write
        sequence: Any = write(
            "INSERT INTO events (channel, at, body, latest) VALUES (?, ?, ?, ?)", (channel, time.time(), body, latest)
        ).lastrowid
        write(
            "INSERT INTO channels SELECT ?, 1, forgotten FROM life WHERE true "
            "ON CONFLICT (name) DO UPDATE SET kept = kept + 1",
            (channel,),
        )
        if latest is not None:
            self._supersede(channel, latest, int(sequence))
        (kept,) = write("SELECT kept FROM channels WHERE name = ?", (channel,)).fetchone()
        if kept > self._file.history.events + self._file.history.events // 10:
            self._trim_by_count(channel)
        self._appended += 1
        return Cursor(self._file.epoch, int(sequence))

    def _supersede(self, channel: str, latest: str, sequence: int) -> None:
        """Drop the event that this one takes the place of; after it, or its number would be given again."""
        write = self._file.write
        gone = write(
            "DELETE FROM events WHERE channel = ? AND latest = ? AND sequence < ?", (channel, latest, sequence)
        ).rowcount
        if gone:
            write("UPDATE channels SET kept = kept - ? WHERE name = ?", (gone, channel))

    def head(self) -> Cursor:
        row = self._file.read("SELECT max(sequence) FROM events").fetchone()
        return Cursor(self._file.epoch, row[0] or 0)

    def wanted(self, channels: list[str]) -> Wanted:
        """In one statement, so that it needs no transaction: most streams that open ask for their user's channel."""
        rows = self._file.read(
            "SELECT head, " + RECORD + " FROM (SELECT max(sequence) AS head FROM events) "
            "LEFT JOIN events ON channel IN (%s) AND latest IS NOT NULL" % ", ".join("?" * len(channels)),
            tuple(channels),
        ).fetchall()
        found = [Record(*row) for _, *row in rows if row[0] is not None]
        return Wanted(rows[0][0] or 0, sorted(found))

    def is_changed(self) -> bool:
        """Whether any other connection, of this process or not, committed since the last call."""
        (seen,) = self._file.read("PRAGMA data_version").fetchone()
        before, self._seen = self._seen, int(seen)
        return self._seen != before

    def news(self, after: int) -> tuple[list[Record], list[str]]:
        """What was appended after a place; and channels of which a part of it is already trimmed."""
        rows = self._file.read(
            "SELECT " + RECORD + " FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, BATCH),
        )
        found = [Record(*row) for row in rows]
        if not found or found[-1].sequence - after == len(found):
            return found, []
        gone = self._file.read("SELECT name FROM channels WHERE floor > ? AND floor < ?", (after, found[-1].sequence))
        return found, [name for (name,) in gone]

    # -- trimming ----------------------------------------------------------

    def _trim_by_count(self, channel: str) -> None:
        write = self._file.write
        (floor,) = write(
            "SELECT sequence FROM events WHERE channel = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?",
            (channel, self._file.history.events),
        ).fetchone()
        write("DELETE FROM events WHERE channel = ? AND sequence <= ?", (channel, floor))
        write("UPDATE channels SET kept = ?, floor = ? WHERE name = ?", (self._file.history.events, floor, channel))

    def trim_by_age(self) -> None:
        """One round, if it is time for one. The event just appended is safe: failing is no failure."""
        now = time.monotonic()
        if self._appended < TRIM_APPENDS and now - self._trimmed_at < TRIM_SECONDS:
            return
        self._appended, self._trimmed_at = 0, now
        try:
            with self._file.writing():
                self._trim_round()
                if now - self._forgot_at >= FLOORS_SECONDS:
                    self._forgot_at = now
                    self._forget_floors()
        except sqlite3.Error as error:
            log.warning("old events were not trimmed: %s", error)

    def _trim_round(self) -> None:
        write = self._file.write
        oldest = time.time() - self._file.history.seconds
        rows = write(
            "SELECT sequence, channel, at FROM events WHERE sequence < (SELECT max(sequence) FROM events) "
            "ORDER BY sequence LIMIT ?",
            (BATCH,),
        ).fetchall()
        old = [(sequence, channel) for sequence, channel, at in rows if at < oldest]
        for sequence, channel in old:
            write("DELETE FROM events WHERE sequence = ?", (sequence,))
            write("UPDATE channels SET kept = kept - 1, floor = ? WHERE name = ?", (sequence, channel))

    def _forget_floors(self) -> None:
        write = self._file.write
        (empty,) = write("SELECT count(*) FROM channels WHERE kept = 0").fetchone()
        if empty > FLOORS:
            (floor,) = write(
                "SELECT floor FROM channels WHERE kept = 0 ORDER BY floor LIMIT 1 OFFSET ?", (empty // 2,)
            ).fetchone()
            write("UPDATE life SET forgotten = max(forgotten, ?)", (floor,))
            write("DELETE FROM channels WHERE kept = 0 AND floor <= ?", (floor,))
