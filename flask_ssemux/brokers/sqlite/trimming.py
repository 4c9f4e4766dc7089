"""Deletes, a few at a time, the events that are over a limit of the history and that every worker has delivered.

``floors.py`` says which events are over a limit. Nothing is read here for clients.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from itertools import islice
from typing import Tuple

from ..contract import constants
from ..records import is_own_channel
from .database import Database
from .floors import CLOCK_BACK, HistoryFloors
from .schema import IS_OWN, NEWEST

log = logging.getLogger("flask_ssemux")

#: A round of trimming comes after so many seconds, appends or bytes, whichever is first.
TRIM_SECONDS = 1.0
TRIM_APPENDS = 100
TRIM_BYTES = 4 * 1024 * 1024

#: Events that one round deletes at most: far over ``TRIM_APPENDS``, so that trimming keeps up with any rate of appends,
#: and no round takes long. And channels over the limit of events that one round trims.
BATCH = 500
CHANNELS = 100

#: Events that are read to find those that workers may not have delivered yet.
LOOK = 20_000

#: Bytes that are kept for delivery at least, however small the limit of the history is.
LIVE_BYTES_LEAST = 1024 * 1024

#: Events of one round on a full disk: what it writes must fit into the room of the reserve.
SMALL_BATCH = 50

#: Seconds until all events are searched again after nothing was found to delete.
LOOK_AGAIN = 5.0

#: Floors that are kept of channels without events; if there are more, the lower half is deleted.
FLOORS = 100_000

#: Seconds between two counts of these floors, and between two rounds of the extension's own channels.
FLOORS_SECONDS = 60.0

_Row = Tuple[int, str, int, int]
_ROWS = "SELECT sequence, channel, length(body), floor FROM events LEFT JOIN channels ON name = channel "


class Trimming:
    """Every method is called with the broker's lock held."""

    def __init__(self, database: Database, floors: HistoryFloors) -> None:
        self._database = database
        self._floors = floors
        self._appended = self._size = 0
        self._trimmed_at = self._forgot_at = self._looked_at = self._look_again_at = self._wall = 0.0
        #: Up to this sequence, workers had the time to deliver all events.
        self._live = 0
        #: Up to this sequence, only the extension's own events are left.
        self._swept = 0

    def trim_if_due(self, size: int, events: int = 1) -> None:
        """Trim one round, if one is due. It does not raise: the events just appended are stored already.

        :param size: their bytes.
        :param events: their number, ``BATCH`` at most.
        """
        now = time.monotonic()
        self._appended += events
        self._size += size
        wall, before = time.time(), self._wall
        self._wall = wall
        is_due = self._appended >= TRIM_APPENDS or self._size >= TRIM_BYTES or wall < before - CLOCK_BACK
        if not is_due and now - self._trimmed_at < TRIM_SECONDS:
            return
        if self._size >= TRIM_BYTES or not 0 <= wall - self._looked_at < constants.LIVE_SECONDS / 5:
            self._looked_at, self._live, self._size = wall, self._find_live(), 0
        self._appended, self._trimmed_at = 0, now
        self._database.reserve.restore()
        try:
            with self._database.writing():
                self._trim_round(now)
        except sqlite3.Error as error:
            self._swept = 0
            log.warning("old events were not trimmed: %s", error)

    def free_pages(self, wanted: int) -> bool:
        """Delete what is over a limit, delivered or not, until the file has so many free pages; return whether it
        has."""
        (newest,) = self._database.read("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
        while self._database.count_free_pages() < wanted:
            with self._database.writing():
                deleted = self._trim_store(newest - 1, SMALL_BATCH) or self._trim_any(newest - 1)
            self._database.checkpoint()
            if not deleted:
                return False
        return True

    def _trim_round(self, now: float) -> None:
        self._floors.check_clock()
        self._trim_store(self._live, BATCH if self._database.reserve.is_whole else SMALL_BATCH)
        self._trim_channels(self._live, now)
        if now - self._forgot_at >= FLOORS_SECONDS:
            self._forgot_at = now
            self._trim_own()
            self._forget_floors()

    def _find_live(self) -> int:
        """Return the sequence up to which events need not be kept for delivery."""
        oldest, count, size = time.time() - constants.LIVE_SECONDS, 0, 0
        most = max(LIVE_BYTES_LEAST, min(constants.LIVE_BYTES, self._database.limits.size))
        rows = self._database.read(
            "SELECT sequence, at, length(body) FROM events ORDER BY sequence DESC LIMIT ?", (LOOK,)
        )
        for sequence, at, length in rows:
            count, size = count + 1, size + length
            if (at < oldest and count > constants.LIVE_EVENTS) or size > most or count == LOOK:
                rows.close()
                return int(sequence)
        return 0

    def _trim_store(self, live: int, most: int) -> int:
        """Delete the oldest events that are over the limits of age and bytes."""
        (by_size,) = self._database.write("SELECT floor FROM life").fetchone()
        upto = min(live, self._floors.find_floor_of_store(by_size))
        rows = self._database.write(
            _ROWS + "WHERE sequence > ? AND sequence <= ? AND NOT (%s) ORDER BY sequence LIMIT ?" % IS_OWN,
            (self._swept, upto, most),
        ).fetchall()
        self._swept = rows[-1][0] if len(rows) == most else max(self._swept, upto)
        return self._delete(rows)

    def _delete(self, rows: list[_Row]) -> int:
        """Delete events, oldest first; raise the floors of their channels."""
        (of_store,) = self._database.write("SELECT floor FROM life").fetchone()
        size, floors, counts = 0, {}, Counter()  # type: int, dict[str, int], Counter[str]
        for sequence, channel, length, floor in rows:
            if sequence > (floor or 0):
                floors[channel] = sequence
                counts[channel] += 1
                size += 0 if is_own_channel(channel) or sequence <= of_store else length
        self._database.write_many("DELETE FROM events WHERE sequence = ?", [row[:1] for row in rows])
        self._database.write_many(
            "UPDATE channels SET kept = kept - ?, floor = ? WHERE name = ?",
            [(counts[channel], floor, channel) for channel, floor in floors.items()],
        )
        if rows:
            self._database.write("UPDATE life SET gone = max(gone, ?)", (rows[-1][0],))
            self._database.write("UPDATE events SET total = total - ? WHERE sequence = (%s)" % NEWEST, (size,))
        return len(rows)

    def _trim_channels(self, live: int, now: float) -> None:
        """Delete the events that are over the limit of events of each channel."""
        over = self._floors.channels_over
        waiting = [name for name, since in islice(over.items(), CHANNELS) if now - since >= constants.LIVE_SECONDS]
        for channel in waiting:
            del over[channel]
            if self._trim_channel(channel, live):
                over[channel] = now

    def _trim_channel(self, channel: str, live: int) -> bool:
        """Delete delivered events below the channel's floor; return whether more are left."""
        rows = self._database.write(
            _ROWS + "WHERE channel = ? AND sequence <= floor ORDER BY sequence LIMIT ?", (channel, BATCH)
        ).fetchall()
        delivered = [row for row in rows if row[0] <= live]
        self._delete(delivered)
        return len(rows) == BATCH or len(delivered) < len(rows)

    def _trim_any(self, live: int) -> int:
        """On a full disk: delete the events below the floors of channels that this process does not know."""
        if time.monotonic() < self._look_again_at:  # it would search all events
            return 0
        rows = self._database.write(
            _ROWS + "WHERE sequence <= floor AND sequence <= ? ORDER BY sequence LIMIT ?", (live, SMALL_BATCH)
        ).fetchall()
        if not rows:
            self._look_again_at = time.monotonic() + LOOK_AGAIN
        return self._delete(rows)

    def _trim_own(self) -> None:
        upto = min(self._live, self._floors.find_floor_of_store(0, own=True))
        self._delete(
            self._database.write(
                _ROWS + "WHERE %s AND sequence <= ? ORDER BY sequence LIMIT ?" % IS_OWN, (upto, BATCH)
            ).fetchall()
        )

    def _forget_floors(self) -> None:
        write = self._database.write
        (empty,) = write("SELECT count(*) FROM channels WHERE kept = 0").fetchone()
        if empty > FLOORS:
            (floor,) = write(
                "SELECT floor FROM channels WHERE kept = 0 ORDER BY floor LIMIT 1 OFFSET ?", (empty // 2,)
            ).fetchone()
            write("UPDATE life SET forgotten = max(forgotten, ?)", (floor,))
            write("DELETE FROM channels WHERE kept = 0 AND floor <= ?", (floor,))
