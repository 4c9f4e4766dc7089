"""The leases of the SQLite broker: the tables ``holds`` and ``elders``."""

from __future__ import annotations

import time
from collections import Counter

from ..contract import constants
from ..contract.leases import Leases
from ..names import is_dead_process
from .database import Database
from .store import SQLiteStore


class SQLiteLeases(Leases):
    """Counts this process's slots, and writes each change to the store.

    The count is right where the store differs: a change that cannot be written now is written when leases are renewed.
    """

    def __init__(self, store: SQLiteStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._taken: Counter[str] = Counter()

    def take_user_slot(self, key: str, limit: int) -> bool:
        with self._store.opened() as file:
            is_taken = file.change(lambda: _take_slot(file, key, self._process_name, limit))
            if is_taken:
                self._taken[key] += 1
            return is_taken

    def release_user_slot(self, key: str) -> None:
        self._taken[key] -= 1
        if self._taken[key] <= 0:
            del self._taken[key]
        self._store.change_quietly(lambda file: _set_slots(file, key, self._process_name, self._taken[key]))

    def renew_leases(self) -> None:
        self._store.change_quietly(lambda file: _renew(file, self._process_name, self._taken))

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        self._store.change_quietly(lambda file: _set_oldest(file, key, self._process_name, since))

    def find_oldest_slot_holder(self, key: str) -> str | None:
        with self._store.opened() as file:
            holders = _list_holders(file, key)
        return next((holder for holder in holders if not is_dead_process(holder)), None)


def release_all(database: Database, process_name: str) -> None:
    """Delete the leases of a process."""
    database.write("DELETE FROM holds WHERE holder = ?", (process_name,))
    database.write("DELETE FROM elders WHERE holder = ?", (process_name,))


def count_all_slots(database: Database) -> int:
    """Return how many slots all processes together have."""
    query = "SELECT coalesce(sum(places), 0) FROM holds WHERE until >= ?"
    return int(database.read(query, (time.time(),)).fetchone()[0])


def _take_slot(database: Database, key: str, process_name: str, limit: int) -> bool:
    if _count_slots(database, key) >= limit:
        _release_of_dead(database, key)
        if _count_slots(database, key) >= limit:
            return False
    database.write(
        "INSERT INTO holds VALUES (?, ?, 1, ?) ON CONFLICT (key, holder) DO UPDATE SET places = places + 1",
        (key, process_name, time.time() + constants.LEASE_SECONDS),
    )
    return True


def _count_slots(database: Database, key: str) -> int:
    query = "SELECT coalesce(sum(places), 0) FROM holds WHERE key = ? AND until >= ?"
    return int(database.write(query, (key, time.time())).fetchone()[0])


def _release_of_dead(database: Database, key: str) -> None:
    holders = database.write("SELECT DISTINCT holder FROM holds WHERE key = ?", (key,)).fetchall()
    for (holder,) in holders:
        if is_dead_process(holder):
            release_all(database, holder)


def _set_slots(database: Database, key: str, process_name: str, slots: int) -> None:
    if slots:
        database.write("UPDATE holds SET places = ? WHERE key = ? AND holder = ?", (slots, key, process_name))
    else:
        database.write("DELETE FROM holds WHERE key = ? AND holder = ?", (key, process_name))


def _renew(database: Database, process_name: str, taken: dict[str, int]) -> None:
    now = time.time()
    until = now + constants.LEASE_SECONDS
    database.write("DELETE FROM holds WHERE holder = ? OR until < ?", (process_name, now))
    database.write_many(
        "INSERT INTO holds VALUES (?, ?, ?, ?)", [(key, process_name, slots, until) for key, slots in taken.items()]
    )
    # Rows that were written while the clock was ahead would outlive their process.
    database.write("UPDATE holds SET until = ? WHERE until > ?", (until, until))
    database.write("DELETE FROM elders WHERE (key, holder) NOT IN (SELECT key, holder FROM holds)")
    database.write("UPDATE elders SET since = ? WHERE since > ?", (now, now))


def _set_oldest(database: Database, key: str, process_name: str, since: float | None) -> None:
    if since is None:
        database.write("DELETE FROM elders WHERE key = ? AND holder = ?", (key, process_name))
    else:
        database.write("INSERT OR REPLACE INTO elders VALUES (?, ?, ?)", (key, process_name, since))


def _list_holders(database: Database, key: str) -> list[str]:
    """Return the processes that have slots under a key, the one with the oldest slot first."""
    rows = database.read(
        "SELECT holder FROM holds LEFT JOIN elders USING (key, holder) WHERE key = ? AND until >= ? "
        "ORDER BY coalesce(since, 0)",
        (key, time.time()),
    )
    return [holder for (holder,) in rows]
