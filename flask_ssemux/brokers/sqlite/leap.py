"""Gives each sequence once, also after an older copy of the file returns: a backup, a snapshot, a container image.

A file does not show whether a newer version of it existed. So, when a process opens the file and no other process has
it open, the next sequence is the current time in microseconds, which is higher than all earlier sequences. The
sequences in between are void: a client that knows one of them has seen an event that was lost. If no event was lost, no
client knows one.
"""

from __future__ import annotations

import logging
import random
import time
from bisect import bisect_left

from ...sse.cursor import Cursor
from .database import Database
from .floors import CLOCK_BACK

log = logging.getLogger("flask_ssemux")

#: Voids that are remembered; with more, the two oldest become one. One is added with the first event after a start.
VOIDS = 1000

#: If the sequences are ahead of the clock, they leap by a random distance, at least this one.
JUMP = 10**9


class Voids:
    """Ranges of sequences that were not given, as of the store's last answer. They outlive the file that is open."""

    def __init__(self) -> None:
        self._epoch = ""
        self._lows: list[int] = []
        self._highs: list[int] = []
        self._next: int | None = None

    def load(self, database: Database) -> int | None:
        """Read the voids again; return the sequence to which the next event leaps, if it does."""
        rows = database.read("SELECT low, high FROM voids ORDER BY low").fetchall()
        (self._next,) = database.read("SELECT leap FROM life").fetchone()
        self._lows, self._highs = [low for low, _ in rows], [high for _, high in rows]
        self._epoch = database.epoch
        return self._next

    def notice(self, database: Database, sequence: int) -> None:
        """An event with this sequence exists: if a leap was due, it was made."""
        if self._next is not None and sequence >= self._next:
            self.load(database)

    def contain(self, cursor: Cursor) -> bool:
        """Return whether the cursor is in one of the ranges."""
        lows, highs = self._lows, self._highs
        index = bisect_left(lows, cursor.sequence) - 1
        return cursor.epoch == self._epoch and 0 <= index < len(highs) and cursor.sequence < highs[index]


def prepare_leap(database: Database) -> bool:
    """Let the next sequence be higher than all earlier ones, also than those of an epoch that was lost.

    :return: whether the clock shows that the next sequence is higher than all earlier ones.
    """
    now = time.time()
    newest = database.write("SELECT sequence, at FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    leap = int(now * 1_000_000)
    if newest is not None and newest[0] >= leap:  # the clock was ahead when the sequence leapt to it
        leap = newest[0] + random.SystemRandom().randint(JUMP, 2 * JUMP)
    if newest is not None and newest[1] > now + CLOCK_BACK:
        log.warning(
            "the clock is behind the newest event of %s, so the file may be an older copy: its history begins anew, "
            "and clients receive a reset",
            database.path,
        )
        return False
    database.write("UPDATE life SET leap = ?", (leap,))
    return True


def take_leap(database: Database) -> int | None:
    """Return the sequence of the next event if it leaps, and make the range that is left out void; otherwise None."""
    (leap,) = database.write("SELECT leap FROM life").fetchone()
    if leap is None:
        database.leap = None
        return None
    (newest,) = database.write("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
    database.write("UPDATE life SET leap = NULL")
    if leap <= newest + 1:
        return None
    database.write("INSERT OR REPLACE INTO voids VALUES (?, ?)", (newest, leap))
    _merge_oldest(database)
    return int(leap)


def _merge_oldest(database: Database) -> None:
    if database.write("SELECT count(*) FROM voids").fetchone()[0] > VOIDS:
        rows = database.write("SELECT low, high FROM voids ORDER BY low LIMIT 2").fetchall()
        database.write("DELETE FROM voids WHERE low = ?", (rows[1][0],))
        database.write("UPDATE voids SET high = ? WHERE low = ?", (rows[1][1], rows[0][0]))
