"""The statements that append events, and that find new events for delivery.

Reading the history again is ``reading.py``'s, and its limits are ``floors.py``'s. No leases, no presence; no threads.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Sequence

from ...sse.cursor import Cursor
from ..records import NewEvent, Record, SubscriptionStart
from .database import Database
from .floors import HistoryFloors
from .leap import Voids, take_leap
from .schema import NEWEST

#: The maximum number of events that one read for delivery returns.
BATCH = 500

RECORD = "sequence, channel, body, latest"

_ADD = "INSERT INTO events (sequence, channel, at, body, latest, total) VALUES (?, ?, ?, ?, ?, ?)"


class Events:
    """Every method is called with the broker's lock held."""

    def __init__(self, database: Database, floors: HistoryFloors, voids: Voids) -> None:
        self._database = database
        self._floors = floors
        self._voids = voids
        self._version = -1
        #: The newest sequence that was seen.
        self.newest = 0

    def append_event(self, channel: str, body: bytes, latest_key: str | None) -> Cursor:
        """Add an event, in a transaction of ``writing``."""
        leap = take_leap(self._database) if self._database.leap is not None else None
        return self._add_event(channel, body, latest_key, leap)

    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        """Add events, in one transaction of ``writing``. Only the first one can leap."""
        leap = take_leap(self._database) if self._database.leap is not None else None
        return [self._add_event(*event, None if number else leap) for number, event in enumerate(events)]

    def _add_event(self, channel: str, body: bytes, latest_key: str | None, leap: int | None) -> Cursor:
        database = self._database
        total, older = self._floors.make_room(channel, latest_key, len(body))
        sequence: Any = database.write(_ADD, (leap, channel, time.time(), body, latest_key, total)).lastrowid
        for replaced in older:  # only after the insert: otherwise the newest event's sequence could be used twice
            database.write("DELETE FROM events WHERE sequence = ?", (replaced,))
        if sequence <= self.newest:
            raise sqlite3.DatabaseError("events were deleted by another program; its history begins anew, try again")
        return Cursor(database.epoch, int(sequence))

    def are_taken_back(self) -> bool:
        """Return whether the newest event is gone that was seen, so that its sequence would be given again: somebody
        has deleted it, or has put an older version of the tables back."""
        (newest,) = self._database.read(NEWEST).fetchone()
        return (newest or 0) < self.newest

    def notice_event(self, sequence: int) -> None:
        """An event with this sequence is in the file."""
        if sequence > self.newest:
            self.newest = sequence
            self._voids.notice(self._database, sequence)

    def get_newest_cursor(self) -> Cursor:
        (newest,) = self._database.read("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        self.notice_event(newest)
        return Cursor(self._database.epoch, newest)

    def find_start(self, channels: list[str]) -> SubscriptionStart:
        """See ``subscribe_channels``. One statement, so that it needs no transaction: most streams that open subscribe
        to their user's channel."""
        rows = self._database.read(
            "SELECT head, " + RECORD + " FROM (SELECT max(sequence) AS head FROM events) "
            "LEFT JOIN events ON channel IN (%s) AND latest IS NOT NULL" % ", ".join("?" * len(channels)),
            tuple(channels),
        ).fetchall()
        newest, found = rows[0][0] or 0, [Record(*row) for _, *row in rows if row[0] is not None]
        self.notice_event(newest)
        floors = self._floors.find_floors({record.channel for record in found}) if found else {}
        return SubscriptionStart(newest, sorted(record for record in found if record.sequence > floors[record.channel]))

    # -- delivery ----------------------------------------------------------

    def is_changed(self) -> bool:
        """Return whether any other connection, of this process or not, committed since the last call."""
        (version,) = self._database.read("PRAGMA data_version").fetchone()
        before, self._version = self._version, int(version)
        return self._version != before

    def read_new_events(self, after: int) -> tuple[list[Record], list[str] | None]:
        """Return the events after a sequence, and the channels of which some of them are already deleted.

        The second value is None if events of any channel may have been deleted.
        """
        rows = self._database.read(
            "SELECT " + RECORD + " FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, BATCH),
        )
        found = [Record(*row) for row in rows]
        if not found:
            return found, []
        self.notice_event(found[-1].sequence)
        return found, [] if found[-1].sequence - after == len(found) else self._find_gaps(after)

    def _find_gaps(self, after: int) -> list[str] | None:
        """Return the channels of which events after a sequence are deleted; None if any channel may be one of them.

        Sequences are also missing where a latest event was replaced and after a leap. Only deleted events count as a
        gap.
        """
        gone, forgotten = self._database.read("SELECT gone, forgotten FROM life").fetchone()
        if gone <= after:
            return []
        if forgotten > after:
            return None
        return [name for (name,) in self._database.read("SELECT name FROM channels WHERE floor > ?", (after,))]
