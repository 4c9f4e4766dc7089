"""Events in their order: appended, and looked for by those who deliver them. Reading them again is ``reading.py``'s,
their limits are ``limits.py``'s.

No places, no presence; no threads.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ...sse.encode import Cursor
from ..base import Record, Wanted
from .leap import take_number

if TYPE_CHECKING:
    from .file import File

#: Events that one look takes at most.
BATCH = 500

RECORD = "sequence, channel, body, latest"

_ADD = "INSERT INTO events (sequence, channel, at, body, latest, total) VALUES (?, ?, ?, ?, ?, ?)"


class Events:
    """The history. Used with the broker's lock held."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._seen = -1
        #: The newest number that was seen.
        self.newest = 0

    def append(self, channel: str, body: bytes, latest: str | None) -> Cursor:
        write = self._file.write
        total, older = self._file.limits.make_room(channel, latest, len(body))
        number = take_number(self._file) if self._file.leap is not None else None
        sequence: Any = write(_ADD, (number, channel, time.time(), body, latest, total)).lastrowid
        for replaced in older:  # not before: the number of the newest event would be given again
            write("DELETE FROM events WHERE sequence = ?", (replaced,))
        return Cursor(self._file.epoch, int(sequence))

    def notice(self, sequence: int) -> None:
        """An event with this number is in the file."""
        if sequence > self.newest:
            self.newest = sequence
            self._file.voids.notice(self._file, sequence)

    def head(self) -> Cursor:
        (newest,) = self._file.read("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        self.notice(newest)
        return Cursor(self._file.epoch, newest)

    def wanted(self, channels: list[str]) -> Wanted:
        """In one statement, so that it needs no transaction: most streams that open ask for their user's channel."""
        rows = self._file.read(
            "SELECT head, " + RECORD + " FROM (SELECT max(sequence) AS head FROM events) "
            "LEFT JOIN events ON channel IN (%s) AND latest IS NOT NULL" % ", ".join("?" * len(channels)),
            tuple(channels),
        ).fetchall()
        newest, found = rows[0][0] or 0, [Record(*row) for _, *row in rows if row[0] is not None]
        self.notice(newest)
        floors = self._file.limits.floors({record.channel for record in found}) if found else {}
        return Wanted(newest, sorted(record for record in found if record.sequence > floors[record.channel]))

    def is_changed(self) -> bool:
        """Whether any other connection, of this process or not, committed since the last call."""
        (seen,) = self._file.read("PRAGMA data_version").fetchone()
        before, self._seen = self._seen, int(seen)
        return self._seen != before

    def news(self, after: int) -> tuple[list[Record], list[str] | None]:
        """What was appended after a place; and channels of which a part of it is already deleted, None: any may be."""
        rows = self._file.read(
            "SELECT " + RECORD + " FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, BATCH),
        )
        found = [Record(*row) for row in rows]
        if not found or found[-1].sequence - after == len(found):
            return found, []
        self.notice(found[-1].sequence)
        return found, self._find_gaps(after)

    def _find_gaps(self, after: int) -> list[str] | None:
        """Numbers are left out by events that have newer ones, and by a start; only what was deleted is a gap."""
        gone, forgotten = self._file.read("SELECT gone, forgotten FROM life").fetchone()
        if gone <= after:
            return []
        if forgotten > after:
            return None
        return [name for (name,) in self._file.read("SELECT name FROM channels WHERE floor > ?", (after,))]
