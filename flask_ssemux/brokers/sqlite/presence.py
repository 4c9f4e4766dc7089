"""The presence of the SQLite broker: the tables ``present`` and ``presence``; ``roster.py`` has the rosters."""

from __future__ import annotations

import time
from typing import Collection, Mapping

from ..contract.presence import LEAVE, Change, Member, Presence, RosterChanges, StreamCounts, add_up_streams
from ..names import is_dead_process
from .database import Database
from .roster import note_absence, update_roster
from .store import SQLiteStore

DAY = 86400.0


class SQLitePresence(Presence):
    def __init__(self, store: SQLiteStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name

    def announce_presence(self, counts: StreamCounts, seconds: float, replace_all: bool = False) -> bool:
        with self._store.opened() as file:
            return file.change(lambda: _write_counts(file, self._process_name, counts, seconds, replace_all))

    def get_presence(self, channel: str) -> dict[str, int]:
        with self._store.opened() as file:
            rows = file.read(
                "SELECT holder, user, streams FROM presence JOIN present USING (holder) "
                "WHERE channel = ? AND until > ?",
                (channel, time.time()),
            ).fetchall()
        return add_up_streams(rows)

    def update_roster(self, present: Mapping[Member, float], announced: Collection[Change] = ()) -> RosterChanges:
        with self._store.opened() as file:
            return file.change(lambda: update_roster(file, self._process_name, time.time(), present, announced))

    def get_roster(self, channel: str) -> list[str]:
        with self._store.opened() as file:
            rows = file.read("SELECT user FROM roster WHERE channel = ? AND change <> ?", (channel, LEAVE)).fetchall()
        return [user for (user,) in rows]


def remove_presence(database: Database, process_name: str) -> None:
    """Delete what a process announced."""
    note_absence(database, time.time(), "holder = ?", (process_name,))
    database.write("DELETE FROM presence WHERE holder = ?", (process_name,))
    database.write("DELETE FROM present WHERE holder = ?", (process_name,))


def _write_counts(
    database: Database, process_name: str, counts: StreamCounts, seconds: float, replace_all: bool
) -> bool:
    write, now = database.write, time.time()
    _remove_expired(database, now, now + seconds)
    was_there = write("SELECT 1 FROM present WHERE holder = ?", (process_name,)).fetchone() is not None
    if replace_all:
        remove_presence(database, process_name)
    write("INSERT OR REPLACE INTO present VALUES (?, ?)", (process_name, now + seconds))
    for (channel, user), count in counts.items():
        if count:
            write("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", (channel, user, process_name, count))
        else:
            row = (channel, user, process_name)
            note_absence(database, now, "channel = ? AND user = ? AND holder = ?", row)
            write("DELETE FROM presence WHERE channel = ? AND user = ? AND holder = ?", row)
    return was_there


def _remove_expired(database: Database, now: float, latest: float) -> None:
    """Delete what processes announced that are dead or silent. A time far in the future is of a clock that was
    ahead."""
    for holder, until in database.write("SELECT holder, until FROM present").fetchall():
        if until <= now or is_dead_process(holder):
            remove_presence(database, holder)
        elif until > latest + DAY:
            database.write("UPDATE present SET until = ? WHERE holder = ?", (latest, holder))
