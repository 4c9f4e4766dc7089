"""The floors: up to which sequence the events of each channel are over a limit of the history, exact at each append.

What is over a limit is never read again. ``trimming.py`` deletes its rows later.
"""

from __future__ import annotations

import time
from typing import Iterable, Sequence

from ..contract import constants
from ..records import is_own_channel
from .database import Database
from .schema import IS_OWN

#: Seconds after which the floor by age is searched for again; at most this part of the history's seconds.
AGE_CHECK = 0.1
AGE_PART = 0.01

#: Seconds by which the clock may be behind the newest event. With more, the clock was wrong when the event came.
CLOCK_BACK = 1.0

#: How many of the newest events are checked for a wrong clock.
NEWEST = 200

#: The greatest sequence that there can be.
MOST = 2**63 - 1

_BEFORE = (
    "SELECT life.floor, forgotten, kept, channels.floor, (SELECT total FROM events ORDER BY sequence DESC LIMIT 1) "
    "FROM life LEFT JOIN channels ON name = ?"
)
_SET_KEPT = "UPDATE channels SET kept = ? WHERE name = ?"
_SET_FLOOR = "UPDATE channels SET kept = ?, floor = ? WHERE name = ?"
_ADD_CHANNEL = "INSERT INTO channels (kept, floor, name) VALUES (?, ?, ?)"
_OLDER = "SELECT sequence, length(body) FROM events WHERE channel = ? AND latest = ?"
_OVER = (
    "SELECT sequence, length(body) FROM events WHERE channel = ? AND sequence > ? "
    "AND (? IS NULL OR latest IS NOT ?) ORDER BY sequence LIMIT ?"
)
_COUNTED = "FROM events JOIN channels ON name = channel WHERE sequence > ? AND NOT (%s)" % IS_OWN
_ABOVE = "SELECT sequence, length(body), floor %s AND sequence <= ? ORDER BY sequence" % _COUNTED
_LAST_TOTAL = "SELECT sequence, total FROM events WHERE total IS NOT NULL ORDER BY sequence DESC LIMIT 1"
_SUM = (
    "SELECT coalesce(sum(length(body)), 0) %s "
    "AND sequence > channels.floor AND sequence > (SELECT floor FROM life)" % _COUNTED
)

#: One lookup each; min and max in one statement would read the whole table.
_ENDS = "SELECT (SELECT min(sequence) FROM events), (SELECT max(sequence) FROM events)"
_NEXT = "SELECT sequence, at FROM events WHERE sequence > ? ORDER BY sequence LIMIT 1"


class HistoryFloors:
    """Every method is called with the broker's lock held."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: By seconds of age: when the floor was searched for (Unix time), and the floor.
        self._aged: dict[float, tuple[float, int]] = {}
        #: Channels that went over the limit of events, and since when (monotonic time).
        self.channels_over: dict[str, float] = {}

    # -- floors ------------------------------------------------------------

    def find_floors(self, channels: Iterable[str]) -> dict[str, int]:
        """Return the newest event of each channel that is over a limit now; 0 if none is."""
        row = self._database.read("SELECT forgotten, floor FROM life").fetchone()
        return {name: self._find_floor(name, *row) for name in channels}

    def _find_floor(self, channel: str, forgotten: int, by_size: int) -> int:
        row = self._database.read("SELECT kept, floor FROM channels WHERE name = ?", (channel,)).fetchone()
        kept, floor = row or (0, forgotten)
        if kept > self._get_event_limit(channel):  # the limit was lowered since the channel's last event
            floor = self._find_floor_by_count(channel, floor, kept - self._get_event_limit(channel))
        of_store = self.find_floor_of_store(by_size, is_own_channel(channel))
        if of_store > floor:
            floor = max(floor, self._find_newest(channel, of_store))
        return int(floor)

    def find_floor_of_store(self, by_size: int, own: bool = False) -> int:
        """Return the sequence up to which events are over a limit whatever their channel; the newest event never is."""
        if own:
            return self.find_aged(max(constants.OWN_SECONDS, self._database.limits.seconds))
        return max(by_size, self.find_aged(self._database.limits.seconds))

    def _get_event_limit(self, channel: str) -> int:
        return constants.OWN_EVENTS if is_own_channel(channel) else self._database.limits.events

    def _find_floor_by_count(self, channel: str, floor: int, excess: int) -> int:
        row = self._database.read(
            "SELECT sequence FROM events WHERE channel = ? AND sequence > ? ORDER BY sequence LIMIT 1 OFFSET ?",
            (channel, floor, excess - 1),
        ).fetchone()
        return int(row[0]) if row else floor

    def _find_newest(self, channel: str, upto: int) -> int:
        query = "SELECT max(sequence) FROM events WHERE channel = ? AND sequence <= ?"
        return int(self._database.read(query, (channel, upto)).fetchone()[0] or 0)

    # -- age ---------------------------------------------------------------

    def find_aged(self, seconds: float) -> int:
        """Return the newest event that is older than so many seconds, but never the newest of all; 0 if there is
        none."""
        now = time.time()
        found_at, floor = self._aged.get(seconds, (0.0, 0))
        if not 0 <= now - found_at < min(AGE_CHECK, seconds * AGE_PART):
            floor = self._search_by_time(now - seconds)
            self._aged[seconds] = now, floor
        return floor

    def _search_by_time(self, before: float) -> int:
        """Search by halves: events are in the order of their time, too."""
        clocks = self._database.read("SELECT upto, at FROM clocks").fetchall()
        first, last = self._database.read(_ENDS).fetchone()
        low = middle = (first or 1) - 1  # usually not even the oldest is too old
        high = (last or 1) - 1
        while low < high:
            row = self._database.read(_NEXT, (middle,)).fetchone()
            if row[0] <= high and _correct_time(row[0], row[1], clocks) < before:
                low = row[0]
            else:
                high = middle
            middle = (low + high) // 2
        return int(low) if first is not None and low >= first else 0

    def check_clock(self) -> None:
        """If the clock was ahead when one of the newest events came, note that no event up to it is younger than now.

        Otherwise these events would not age until the clock shows that time again.
        """
        now, write = time.time(), self._database.write
        clocks = write("SELECT upto, at FROM clocks").fetchall()
        newest = write("SELECT sequence, at FROM events ORDER BY sequence DESC LIMIT ?", (NEWEST,)).fetchall()
        for sequence, at in newest:
            if at > now + CLOCK_BACK and _correct_time(sequence, at, clocks) > now + CLOCK_BACK:
                write("DELETE FROM clocks WHERE upto < (SELECT min(sequence) FROM events)")
                write("INSERT OR REPLACE INTO clocks VALUES (?, ?)", (sequence, now))
                self._aged.clear()
                return

    # -- what an append moves ----------------------------------------------

    def make_room(self, channel: str, latest_key: str | None, size: int) -> tuple[int, list[int]]:
        """Move the floors for an event that is about to be added.

        :return: the bytes of the history with the event, and the sequences of the events that it replaces.
        """
        write, most = self._database.write, self._get_event_limit(channel)
        of_store, forgotten, known, floor, total = write(_BEFORE, (channel,)).fetchone()
        floor = forgotten if known is None else floor
        total = self.sum_up() if total is None else total
        older = write(_OLDER, (channel, latest_key)).fetchall() if latest_key is not None else []
        kept = (known or 0) + 1 - sum(number > floor for number, _ in older)
        over = write(_OVER, (channel, floor, latest_key, latest_key, kept - most)).fetchall() if kept > most else []
        if over:
            write(_SET_FLOOR, (kept - len(over), over[-1][0], channel))
            self.channels_over.setdefault(channel, time.monotonic())
        elif known is None:
            write(_ADD_CHANNEL, (kept, floor, channel))
        else:
            write(_SET_KEPT, (kept, channel))
        if not is_own_channel(channel):
            total += size - sum(length for number, length in older + over if number > max(floor, of_store))
        numbers = [number for number, _ in older]
        if total > self._database.limits.size:
            total = self.raise_floor_of_store(total, of_store, MOST, numbers)
        return total, numbers

    def raise_floor_of_store(self, total: int, of_store: int, upto: int, but: Sequence[int] = ()) -> int:
        """Raise the floor over the oldest events until the limit of bytes is kept; return how many bytes are left.

        :param total: the bytes of the history.
        :param of_store: the floor of the store.
        :param upto: the sequence that the floor must not exceed.
        :param but: events that ``total`` does not count.
        """
        rows = self._database.write(_ABOVE, (of_store, upto))
        for sequence, length, floor in rows:
            of_store = sequence
            if sequence > floor and sequence not in but:
                total -= length
            if total <= self._database.limits.size:
                break
        rows.close()
        self._database.write("UPDATE life SET floor = ?", (of_store,))
        return int(total)

    def sum_up(self, is_anew: bool = False) -> int:
        """Return the bytes of the history: count what an older version added, or with ``is_anew`` all events."""
        last = None if is_anew else self._database.write(_LAST_TOTAL).fetchone()
        after, total = last or (0, 0)
        return int(total + self._database.write(_SUM, (after,)).fetchone()[0])


def _correct_time(sequence: int, at: float, clocks: list[tuple[int, float]]) -> float:
    """Return when the event came, corrected by what is known of wrong clocks."""
    return min([at] + [corrected for upto, corrected in clocks if sequence <= upto])
