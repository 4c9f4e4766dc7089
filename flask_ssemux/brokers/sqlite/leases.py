"""The leases of the SQLite broker: the tables ``holds``, ``shares`` and ``elders``."""

from __future__ import annotations

import time
from typing import Iterable, NamedTuple

from ..contract import constants
from ..contract.leases import Leases
from ..contract.user_slots import SlotAnswer, UserSlots, choose_share
from ..names import is_dead_process
from .database import Database
from .store import SQLiteStore


class _Renewed(NamedTuple):
    """What a renewal has written.

    :param share: of this process.
    :param is_new: whether the share begins now.
    :param crowded: the keys of which a new share has no slots.
    :param regained: the keys that it has again.
    :param until: when the share expires.
    """

    share: int
    is_new: bool
    crowded: list[str]
    regained: list[str]
    until: float


class SQLiteLeases(Leases):
    """Counts this process's slots, and writes each change to the store, unless it is within its share.

    The count is right where the store differs: a change that cannot be written now is written when leases are renewed.
    Whatever is written is changed with the store's lock held.
    """

    def __init__(self, store: SQLiteStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self.slots = UserSlots()

    def ask_for_user_slot(self, key: str, limit: int) -> SlotAnswer:
        with self._store.opened() as file:
            must_write, taken = self.slots.note_written(key)
            answer = file.change(lambda: _find_slot(file, key, self._process_name, taken, limit, must_write))
            if answer is SlotAnswer.TAKEN:
                with self.slots.lock:
                    self.slots.change(key, 1)
            return answer

    def release_user_slot(self, key: str) -> None:
        with self.slots.lock:
            is_written = self.slots.is_written(key)
            self.slots.change(key, -1)
        if is_written:
            self.write_user_slots(key)

    def share_user_slots(self, limit: int) -> None:
        with self.slots.lock:
            self.slots.limit = limit
        self.renew_leases()

    def write_user_slots(self, key: str) -> None:
        self._store.change_quietly(
            lambda file: _write_slots(file, key, self._process_name, self.slots.note_written(key)[1])
        )

    def renew_leases(self) -> None:
        self._store.change_quietly(self._renew, self._apply_renewal)

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        self._store.change_quietly(lambda file: _set_oldest(file, key, self._process_name, since))

    def find_oldest_slot_holder(self, key: str) -> str | None:
        with self._store.opened() as file:
            holders = _list_holders(file, key)
        return next((holder for holder in holders if not is_dead_process(holder)), None)

    # ----------------------------------------------------------------------

    def _renew(self, database: Database) -> _Renewed:
        """Write the numbers of all keys again that are written, and renew or begin the share."""
        slots, name, until = self.slots, self._process_name, time.monotonic() + constants.LEASE_SECONDS
        share = _extend_share(database, name) if slots.share else 0
        with slots.lock:
            if not share:
                slots.share = 0  # it was lost: nothing is taken of it, and all numbers are written
            numbers, keys, limit = dict(slots.taken), slots.list_written(), slots.limit
        is_new, crowded = not share, []
        if is_new and limit:
            share = _begin_share(database, name, limit)
            crowded = _list_crowded(database, limit) if share else []
        _delete_slots(database, name)
        regained = [key for key in keys if not numbers.get(key) and _is_roomy(database, key, name, limit)]
        kept = {*keys, *crowded}.difference(regained) if share else numbers
        _insert_slots(database, name, [(key, numbers.get(key, 0)) for key in kept])
        return _Renewed(share, is_new, crowded, regained, until)

    def _apply_renewal(self, renewed: _Renewed) -> None:
        with self.slots.lock:
            if renewed.is_new:
                self.slots.begin_share(renewed.share, renewed.crowded, renewed.until)
            else:
                self.slots.renew_share(renewed.until)
            self.slots.written.difference_update(renewed.regained)


def release_all(database: Database, process_name: str) -> None:
    """Delete the leases of a process."""
    for table in ("holds", "shares", "elders"):
        database.write("DELETE FROM %s WHERE holder = ?" % table, (process_name,))


def count_all_slots(database: Database) -> int:
    """Return how many slots all processes together have, as far as they are written."""
    query = "SELECT coalesce(sum(places), 0) FROM holds WHERE until >= ?"
    return int(database.read(query, (time.time(),)).fetchone()[0])


# -- the slots of one key ------------------------------------------------------------


def _find_slot(database: Database, key: str, process_name: str, taken: int, limit: int, must_write: bool) -> SlotAnswer:
    """Write that this process takes one more slot, if one is free.

    :param must_write: write the number also if none is, since the process gives up its share.
    """
    others, shared = _count_others(database, key, process_name)
    if others + shared + taken >= limit:
        _release_of_dead(database, key)
        others, shared = _count_others(database, key, process_name)
    is_taken = others + shared + taken < limit
    if is_taken or must_write:
        _write_slots(database, key, process_name, taken + is_taken)
    if is_taken:
        return SlotAnswer.TAKEN
    return SlotAnswer.FULL if others + taken >= limit else SlotAnswer.SHARED


def _count_others(database: Database, key: str, process_name: str) -> tuple[int, int]:
    """Return how many slots of a key other processes have written, and the shares of those that have not."""
    now = time.time()
    query = (
        "SELECT (SELECT coalesce(sum(places), 0) FROM holds WHERE key = ?1 AND until >= ?2 AND holder != ?3), "
        "(SELECT coalesce(sum(size), 0) FROM shares WHERE until >= ?2 AND holder != ?3 AND NOT EXISTS "
        "(SELECT 1 FROM holds WHERE key = ?1 AND holds.holder = shares.holder AND holds.until >= ?2))"
    )
    others, shared = database.write(query, (key, now, process_name)).fetchone()
    return int(others), int(shared)


def _release_of_dead(database: Database, key: str) -> None:
    query = "SELECT holder FROM holds WHERE key = ? UNION SELECT holder FROM shares"
    for (holder,) in database.write(query, (key,)).fetchall():
        if is_dead_process(holder):
            release_all(database, holder)


def _write_slots(database: Database, key: str, process_name: str, slots: int) -> None:
    """Write how many slots of a key a process has. A process that has a share also writes that it has none of it."""
    if slots or _find_share(database, process_name):
        row = (key, process_name, slots, time.time() + constants.LEASE_SECONDS)
        database.write("INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?)", row)
    else:
        database.write("DELETE FROM holds WHERE key = ? AND holder = ?", (key, process_name))


# -- all keys of a process -----------------------------------------------------------


def _delete_slots(database: Database, process_name: str) -> None:
    """Delete the rows of a process, which it then writes again, and those that have expired."""
    now = time.time()
    until = now + constants.LEASE_SECONDS
    database.write("DELETE FROM holds WHERE holder = ? OR until < ?", (process_name, now))
    database.write("DELETE FROM shares WHERE until < ?", (now,))
    # Rows that were written while the clock was ahead would outlive their process.
    database.write("UPDATE holds SET until = ? WHERE until > ?", (until, until))
    database.write("UPDATE shares SET until = ? WHERE until > ?", (until, until))


def _insert_slots(database: Database, process_name: str, numbers: Iterable[tuple[str, int]]) -> None:
    now = time.time()
    until = now + constants.LEASE_SECONDS
    database.write_many(
        "INSERT INTO holds VALUES (?, ?, ?, ?)", [(key, process_name, slots, until) for key, slots in numbers]
    )
    database.write("DELETE FROM elders WHERE (key, holder) NOT IN (SELECT key, holder FROM holds)")
    database.write("UPDATE elders SET since = ? WHERE since > ?", (now, now))


# -- shares --------------------------------------------------------------------------


def _find_share(database: Database, process_name: str) -> int:
    query = "SELECT size FROM shares WHERE holder = ? AND until >= ?"
    found = database.write(query, (process_name, time.time())).fetchone()
    return 0 if found is None else int(found[0])


def _extend_share(database: Database, process_name: str) -> int:
    """Renew the share of a process, and return it; 0 if it has expired."""
    until = time.time() + constants.LEASE_SECONDS
    database.write("UPDATE shares SET until = ? WHERE holder = ? AND until >= ?", (until, process_name, time.time()))
    return _find_share(database, process_name)


def _begin_share(database: Database, process_name: str, limit: int) -> int:
    """Give a process a share, and return it."""
    query = "SELECT holder, size FROM shares WHERE until >= ? AND holder != ?"
    others = dict(database.write(query, (time.time(), process_name)).fetchall())
    for holder in filter(is_dead_process, list(others)):
        release_all(database, holder)
        del others[holder]
    share = choose_share(limit, sum(others.values()))
    if share:
        row = (process_name, share, time.time() + constants.LEASE_SECONDS)
        database.write("INSERT OR REPLACE INTO shares VALUES (?, ?, ?)", row)
    return share


def _list_crowded(database: Database, limit: int) -> list[str]:
    """Return the keys of which more slots are taken than all shares leave."""
    now = time.time()
    query = (
        "SELECT key FROM holds WHERE until >= ?1 GROUP BY key "
        "HAVING sum(places) + (SELECT coalesce(sum(size), 0) FROM shares WHERE until >= ?1) > ?2"
    )
    return [key for (key,) in database.write(query, (now, limit)).fetchall()]


def _is_roomy(database: Database, key: str, process_name: str, limit: int) -> bool:
    """Return whether a process that has taken none of a key's slots may have its share of them again."""
    others, shared = _count_others(database, key, process_name)
    return others + shared + _find_share(database, process_name) <= limit


# -- the oldest slot -----------------------------------------------------------------


def _set_oldest(database: Database, key: str, process_name: str, since: float | None) -> None:
    if since is None:
        database.write("DELETE FROM elders WHERE key = ? AND holder = ?", (key, process_name))
    else:
        database.write("INSERT OR REPLACE INTO elders VALUES (?, ?, ?)", (key, process_name, since))


def _list_holders(database: Database, key: str) -> list[str]:
    """Return the processes that have slots under a key, the one with the oldest slot first."""
    rows = database.read(
        "SELECT holder FROM holds LEFT JOIN elders USING (key, holder) WHERE key = ? AND until >= ? AND places > 0 "
        "ORDER BY coalesce(since, 0)",
        (key, time.time()),
    )
    return [holder for (holder,) in rows]
