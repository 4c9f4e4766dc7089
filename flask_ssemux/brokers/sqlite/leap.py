"""Numbers are given out once, also by a file that comes back from the past: a backup, a snapshot, a container image.

A file cannot tell whether it is the newest that there was. So the numbering leaps to the time in microseconds when
all processes had closed the file and one opens it: that is ahead of all that was given out before. What lies between
is void: who saw such a number saw an event of a life that is lost. If nothing was lost, nobody saw one.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_left
from typing import TYPE_CHECKING

from ...sse.encode import Cursor
from ..base import log
from .limits import CLOCK_BACK

if TYPE_CHECKING:
    from .file import File

#: Voids that are remembered; with more, the two oldest become one. One is added with the first event after a start.
VOIDS = 1000

#: Where numbers are ahead of the clock they leap by chance, so far at least.
JUMP = 10**9


class Voids:
    """Ranges of numbers that were not given out, as of the last answer; of a broker, whatever file it has open."""

    def __init__(self) -> None:
        self._epoch = ""
        self._lows: list[int] = []
        self._highs: list[int] = []
        self._next: int | None = None

    def load(self, file: File) -> int | None:
        """Read them anew; the number to which the next event leaps, if it does."""
        rows = file.read("SELECT low, high FROM voids ORDER BY low").fetchall()
        (self._next,) = file.read("SELECT leap FROM life").fetchone()
        self._lows, self._highs = [low for low, _ in rows], [high for _, high in rows]
        self._epoch = file.epoch
        return self._next

    def notice(self, file: File, sequence: int) -> None:
        """An event with this number exists: the leap, if one was to come, was made."""
        if self._next is not None and sequence >= self._next:
            self.load(file)

    def has(self, cursor: Cursor) -> bool:
        lows, highs = self._lows, self._highs
        index = bisect_left(lows, cursor.sequence) - 1
        return cursor.epoch == self._epoch and 0 <= index < len(highs) and cursor.sequence < highs[index]


def prepare_leap(file: File) -> bool:
    """The next number is ahead of all that were given out, also by a life that is lost; whether the clock proves it."""
    now = time.time()
    newest = file.write("SELECT sequence, at FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    leap = int(now * 1_000_000)
    if newest is not None and newest[0] >= leap:  # the clock was ahead when numbers leapt to it
        leap = newest[0] + random.SystemRandom().randint(JUMP, 2 * JUMP)
    if newest is not None and newest[1] > now + CLOCK_BACK:
        log.warning(
            "the clock is behind the newest event of %s, so nobody can tell whether the file is an older copy: its "
            "history begins anew, and clients are told to reload",
            file.path,
        )
        return False
    file.write("UPDATE life SET leap = ?", (leap,))
    return True


def take_number(file: File) -> int | None:
    """The number of the next event where it is not simply the next; the range that is left out becomes void."""
    (leap,) = file.write("SELECT leap FROM life").fetchone()
    if leap is None:
        file.leap = None
        return None
    (newest,) = file.write("SELECT coalesce(max(sequence), 0) FROM events").fetchone()
    file.write("UPDATE life SET leap = NULL")
    if leap <= newest + 1:
        return None
    file.write("INSERT OR REPLACE INTO voids VALUES (?, ?)", (newest, leap))
    _merge_oldest(file)
    return int(leap)


def _merge_oldest(file: File) -> None:
    if file.write("SELECT count(*) FROM voids").fetchone()[0] > VOIDS:
        rows = file.write("SELECT low, high FROM voids ORDER BY low LIMIT 2").fetchall()
        file.write("DELETE FROM voids WHERE low = ?", (rows[1][0],))
        file.write("UPDATE voids SET high = ? WHERE low = ?", (rows[1][1], rows[0][0]))
