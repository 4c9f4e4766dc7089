"""Deletes, a little at a time, the events that are over a limit of the history and that every worker has delivered.

Where the limits are is ``limits.py``'s. Nothing is read here for clients.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Tuple

from .. import base
from ..base import log
from .limits import CLOCK_BACK
from .schema import IS_OWN, NEWEST

if TYPE_CHECKING:
    from .file import File

#: A round of trimming comes after so many seconds, appends or bytes, whichever is first.
TRIM_SECONDS = 1.0
TRIM_APPENDS = 100
TRIM_BYTES = 4 * 1024 * 1024

#: Events that one round takes at most. Far over ``TRIM_APPENDS``, so that trimming keeps up with any rate of appends
#: without ever being long. And channels of which it looks at those over the limit of events.
BATCH = 500
CHANNELS = 100

#: Events that are looked at to see from where on they may have yet to be delivered.
LOOK = 20_000

#: Bytes that are kept for delivery at least, however small the history.
LIVE_BYTES_LEAST = 1024 * 1024

#: Events of one round where the disk is full: what it writes must fit into the room that is kept for it.
SMALL_BATCH = 50

#: Seconds until all events are looked at again, where nothing was found to delete.
LOOK_AGAIN = 5.0

#: Floors kept of channels that have no event left; the lowest half goes at more.
FLOORS = 100_000

#: Seconds between two counts of them, and between two looks at the extension's own channels.
FLOORS_SECONDS = 60.0

_Row = Tuple[int, str, int, int]
_ROWS = "SELECT sequence, channel, length(body), floor FROM events LEFT JOIN channels ON name = channel "


class Trimming:
    """Used with the broker's lock held."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._appended = self._size = 0
        self._trimmed_at = self._forgot_at = self._looked_at = self._look_again_at = self._wall = 0.0
        #: Up to here, workers had the time to deliver what is there.
        self._live = 0
        #: Up to here, only the extension's own events are left.
        self._swept = 0
        #: Channels that went over the limit of events, and since when.
        self._over: dict[str, float] = {}

    def note(self, channel: str) -> None:
        """This channel has events over the limit of events."""
        self._over.setdefault(channel, time.monotonic())

    def trim_if_due(self, size: int) -> None:
        """One round, if it is time for one. The event just appended, of this size, is safe: failing is no failure."""
        now = time.monotonic()
        self._appended += 1
        self._size += size
        wall, before = time.time(), self._wall
        self._wall = wall
        is_due = self._appended >= TRIM_APPENDS or self._size >= TRIM_BYTES or wall < before - CLOCK_BACK
        if not is_due and now - self._trimmed_at < TRIM_SECONDS:
            return
        if self._size >= TRIM_BYTES or not 0 <= wall - self._looked_at < base.LIVE_SECONDS / 5:
            self._looked_at, self._live, self._size = wall, self._find_live(), 0
        self._appended, self._trimmed_at = 0, now
        self._file.reserve.restore()
        try:
            with self._file.writing():
                self._trim_round(now)
        except sqlite3.Error as error:
            self._swept = 0
            log.warning("old events were not trimmed: %s", error)

    def free_pages(self, wanted: int) -> bool:
        """Delete all that is over a limit, delivered or not, until the file has so many free pages; whether it has."""
        (newest,) = self._file.read("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        while self._file.free_pages() < wanted:
            with self._file.writing():
                deleted = self._trim_store(newest - 1, SMALL_BATCH) or self._trim_any(newest - 1)
            self._file.checkpoint()
            if not deleted:
                return False
        return True

    def _trim_round(self, now: float) -> None:
        self._file.limits.check_clock()
        self._trim_store(self._live, BATCH if self._file.reserve.is_whole else SMALL_BATCH)
        self._trim_channels(self._live, now)
        if now - self._forgot_at >= FLOORS_SECONDS:
            self._forgot_at = now
            self._trim_own()
            self._forget_floors()

    def _find_live(self) -> int:
        """Up to which number events need not be kept for delivery."""
        oldest, count, size = time.time() - base.LIVE_SECONDS, 0, 0
        most = max(LIVE_BYTES_LEAST, min(base.LIVE_BYTES, self._file.history.size))
        rows = self._file.read("SELECT sequence, at, length(body) FROM events ORDER BY sequence DESC LIMIT ?", (LOOK,))
        for sequence, at, length in rows:
            count, size = count + 1, size + length
            if (at < oldest and count > base.LIVE_EVENTS) or size > most or count == LOOK:
                rows.close()
                return int(sequence)
        return 0

    def _trim_store(self, live: int, most: int) -> int:
        """What age and bytes are over; oldest first."""
        (by_size,) = self._file.write("SELECT floor FROM life").fetchone()
        upto = min(live, self._file.limits.floor_of_store(by_size))
        rows = self._file.write(
            _ROWS + "WHERE sequence > ? AND sequence <= ? AND NOT (%s) ORDER BY sequence LIMIT ?" % IS_OWN,
            (self._swept, upto, most),
        ).fetchall()
        self._swept = rows[-1][0] if len(rows) == most else max(self._swept, upto)
        return self._delete(rows)

    def _delete(self, rows: list[_Row]) -> int:
        """Delete events, oldest first; what they leave is their channels' floors."""
        (of_store,) = self._file.write("SELECT floor FROM life").fetchone()
        size, floors, counts = 0, {}, Counter()  # type: int, dict[str, int], Counter[str]
        for sequence, channel, length, floor in rows:
            if sequence > (floor or 0):
                floors[channel] = sequence
                counts[channel] += 1
                size += 0 if base.is_own(channel) or sequence <= of_store else length
        self._file.write_many("DELETE FROM events WHERE sequence = ?", [row[:1] for row in rows])
        self._file.write_many(
            "UPDATE channels SET kept = kept - ?, floor = ? WHERE name = ?",
            [(counts[channel], floor, channel) for channel, floor in floors.items()],
        )
        if rows:
            self._file.write("UPDATE life SET gone = max(gone, ?)", (rows[-1][0],))
            self._file.write("UPDATE events SET total = total - ? WHERE sequence = (%s)" % NEWEST, (size,))
        return len(rows)

    def _trim_channels(self, live: int, now: float) -> None:
        """What the limit of events is over."""
        waiting = [name for name, since in islice(self._over.items(), CHANNELS) if now - since >= base.LIVE_SECONDS]
        for channel in waiting:
            del self._over[channel]
            if self._trim_channel(channel, live):
                self._over[channel] = now

    def _trim_channel(self, channel: str, live: int) -> bool:
        """Whether there is more that the channel's floor is over."""
        rows = self._file.write(
            _ROWS + "WHERE channel = ? AND sequence <= floor ORDER BY sequence LIMIT ?", (channel, BATCH)
        ).fetchall()
        delivered = [row for row in rows if row[0] <= live]
        self._delete(delivered)
        return len(rows) == BATCH or len(delivered) < len(rows)

    def _trim_any(self, live: int) -> int:
        """Where the disk is full: what the limits of events are over in channels that this process does not know."""
        if time.monotonic() < self._look_again_at:  # it looks at all events
            return 0
        rows = self._file.write(
            _ROWS + "WHERE sequence <= floor AND sequence <= ? ORDER BY sequence LIMIT ?", (live, SMALL_BATCH)
        ).fetchall()
        if not rows:
            self._look_again_at = time.monotonic() + LOOK_AGAIN
        return self._delete(rows)

    def _trim_own(self) -> None:
        upto = min(self._live, self._file.limits.floor_of_store(0, own=True))
        self._delete(
            self._file.write(
                _ROWS + "WHERE %s AND sequence <= ? ORDER BY sequence LIMIT ?" % IS_OWN, (upto, BATCH)
            ).fetchall()
        )

    def _forget_floors(self) -> None:
        write = self._file.write
        (empty,) = write("SELECT count(*) FROM channels WHERE kept = 0").fetchone()
        if empty > FLOORS:
            (floor,) = write(
                "SELECT floor FROM channels WHERE kept = 0 ORDER BY floor LIMIT 1 OFFSET ?", (empty // 2,)
            ).fetchone()
            write("UPDATE life SET forgotten = max(forgotten, ?)", (floor,))
            write("DELETE FROM channels WHERE kept = 0 AND floor <= ?", (floor,))
