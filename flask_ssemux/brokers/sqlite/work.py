"""The work of the SQLite broker: the tables ``work``, ``wants``, ``runs`` and ``fences``."""

from __future__ import annotations

import sqlite3
import time
from typing import Callable, Collection, Iterable, Sequence

from ...sse.cursor import Cursor
from ..contract import constants
from ..contract.work import RUN_PREFIX, RUNNING, WAITING, KeptWork, RunRecord, Work, WorkBatch, WorkLease
from ..names import is_dead_process
from ..records import NewEvent
from .database import Database
from .file import StoreFile
from .history import ROW_BYTES, SQLiteHistory
from .schema import NEWEST
from .store import SQLiteStore

#: Seconds after which a lease that has expired, and is not of a run, is deleted.
FORGOTTEN = 3600.0

_READ_RUN = (
    "SELECT state, details, begin, is_cancelled, holder, work.until, fence FROM runs "
    "LEFT JOIN work ON name = ? || id WHERE id = ?"
)


class SQLiteWork(Work):
    def __init__(self, store: SQLiteStore, history: SQLiteHistory, process_name: str) -> None:
        self._store = store
        self._history = history
        self._process_name = process_name
        #: What this process wants, as far as it is written.
        self._wants: frozenset[str] = frozenset()

    def take_work(self, names: Collection[str]) -> list[WorkLease]:
        with self._store.opened() as file:
            return file.change(lambda: _take_free(file, self._process_name, names))

    def keep_work(
        self, leases: Collection[WorkLease], wants: Collection[str] = (), watches: Collection[str] = ()
    ) -> KeptWork:
        wanted_here = frozenset(wants)
        with self._store.opened() as file:
            held = file.change(lambda: self._renew(file, leases, wanted_here)) if leases or wants or self._wants else []
            self._wants = wanted_here
            with file.reading():
                wanted = {lease.name for lease in held if _is_wanted(file, lease.name)}
                busy = set(_list_busy(file.read, {*wants, *watches}))
                cancelled = {lease.name for lease in held if _is_cancelled(file, lease.name)}
        return KeptWork(held, wanted, {*wants, *watches} - busy, cancelled)

    def _renew(self, file: StoreFile, leases: Collection[WorkLease], wants: frozenset[str]) -> list[WorkLease]:
        if wants or self._wants:
            _write_wants(file, self._process_name, wants)
        return [lease for lease in leases if _renew_lease(file, self._process_name, lease, file.limits.seconds)]

    def release_work(self, leases: Collection[WorkLease]) -> None:
        self._store.change_quietly(lambda file: _release(file, leases))

    def append_work(self, batches: Sequence[WorkBatch]) -> list[list[Cursor] | None]:
        size = sum(len(event.body) + ROW_BYTES for batch in batches for event in batch.events)
        with self._store.opened() as file:
            allowed = file.change(lambda: _append_held(file, batches), size)
            found = [cursors for cursors in allowed if cursors]
            if found:
                file.events.notice_event(found[-1][-1].sequence)
                file.trimming.trim_if_due(size, sum(map(len, found)))
        if found:
            self._history.announce_events(_list_events(batches, allowed), [it for cursors in found for it in cursors])
        return allowed

    # -- runs --------------------------------------------------------------

    def plan_run(self, run_id: str, details: str) -> None:
        with self._store.opened() as file:
            file.change(lambda: _add_run(file, run_id, details))

    def begin_run(self, run_id: str, details: str) -> WorkLease:
        with self._store.opened() as file:
            return file.change(lambda: _begin_run(file, self._process_name, run_id, details))

    def read_runs(self, run_ids: Collection[str]) -> dict[str, RunRecord]:
        with self._store.opened() as file, file.reading():
            found = {run_id: file.read(_READ_RUN, (RUN_PREFIX, run_id)).fetchone() for run_id in run_ids}
        return {run_id: _describe_run(*row) for run_id, row in found.items() if row is not None}

    def find_lost_runs(self) -> list[str]:
        query = "SELECT id, holder, work.until FROM runs LEFT JOIN work ON name = ? || id WHERE state = '%s'" % RUNNING
        with self._store.opened() as file:
            rows = file.read(query, (RUN_PREFIX,)).fetchall()
        return [run_id for run_id, holder, until in rows if holder is None or not _is_alive(holder, until)]

    def cancel_run(self, run_id: str) -> bool:
        query = "UPDATE runs SET is_cancelled = 1 WHERE id = ? AND state IN (?, ?)"
        with self._store.opened() as file:
            return file.change(lambda: file.write(query, (run_id, WAITING, RUNNING)).rowcount == 1)


def remove_work(database: Database, process_name: str) -> None:
    """Release all leases of a process, and delete what it wants."""
    query = "SELECT name, fence FROM work WHERE holder = ?"
    _release(database, [WorkLease(*row) for row in database.write(query, (process_name,)).fetchall()])
    database.write("DELETE FROM wants WHERE holder = ?", (process_name,))


# -- leases --------------------------------------------------------------------------


def _take_free(database: Database, process_name: str, names: Collection[str]) -> list[WorkLease]:
    _correct_times(database, time.time())
    busy = set(_list_busy(database.write, names, process_name))
    return [_take(database, process_name, name) for name in names if name not in busy]


def _correct_times(database: Database, now: float) -> None:
    """Correct leases that were written while the clock was ahead, and delete those that have long expired."""
    until = now + constants.WORK_SECONDS
    database.write("UPDATE work SET until = ? WHERE until > ?", (until, until))
    database.write(
        "DELETE FROM work WHERE until < ? AND substr(name, 1, ?) <> ?", (now - FORGOTTEN, len(RUN_PREFIX), RUN_PREFIX)
    )


def _list_busy(run: Callable[..., sqlite3.Cursor], names: Iterable[str], but: str = "") -> list[str]:
    """Return the names whose work a living process does.

    :param run: ``read`` or ``write`` of the database.
    :param but: a process that does not count.
    """
    rows = [(name, run("SELECT holder, until FROM work WHERE name = ?", (name,)).fetchone()) for name in names]
    return [name for name, row in rows if row is not None and row[0] != but and _is_alive(*row)]


def _is_alive(holder: str, until: float) -> bool:
    return until >= time.time() and holder != "" and not is_dead_process(holder)


def _take(database: Database, process_name: str, name: str) -> WorkLease:
    now = time.time()
    (last,) = database.write("SELECT coalesce(max(last), 0) FROM fences").fetchone()
    fence = max(last + 1, int(now * 1_000_000))
    database.write("INSERT OR REPLACE INTO fences VALUES (0, ?)", (fence,))
    row = (name, fence, process_name, now + constants.WORK_SECONDS)
    database.write("INSERT OR REPLACE INTO work VALUES (?, ?, ?, ?)", row)
    return WorkLease(name, fence)


def _renew_lease(database: Database, process_name: str, lease: WorkLease, kept: float) -> bool:
    now = time.time()
    row = (process_name, now + constants.WORK_SECONDS, *lease)
    is_held = database.write("UPDATE work SET holder = ?, until = ? WHERE name = ? AND fence = ?", row).rowcount == 1
    if is_held and lease.name.startswith(RUN_PREFIX):
        database.write("UPDATE runs SET until = ? WHERE id = ?", (now + kept, lease.name[len(RUN_PREFIX) :]))
    return is_held


def _release(database: Database, leases: Collection[WorkLease]) -> None:
    for lease in leases:
        if lease.name.startswith(RUN_PREFIX):
            database.write("UPDATE work SET holder = '', until = 0 WHERE name = ? AND fence = ?", lease)
        else:
            database.write("DELETE FROM work WHERE name = ? AND fence = ?", lease)


# -- wants ---------------------------------------------------------------------------


def _write_wants(database: Database, process_name: str, wants: Iterable[str]) -> None:
    now = time.time()
    until = now + constants.WORK_SECONDS
    database.write("DELETE FROM wants WHERE holder = ? OR until < ? OR until > ?", (process_name, now, until))
    database.write_many("INSERT INTO wants VALUES (?, ?, ?)", [(name, process_name, until) for name in wants])


def _is_wanted(database: Database, name: str) -> bool:
    query = "SELECT holder FROM wants WHERE name = ? AND until >= ?"
    return not all(is_dead_process(holder) for (holder,) in database.read(query, (name, time.time())).fetchall())


# -- events --------------------------------------------------------------------------


def _append_held(file: StoreFile, batches: Sequence[WorkBatch]) -> list[list[Cursor] | None]:
    allowed = [_may_append(file, batch) for batch in batches]
    events = [event for batch, may in zip(batches, allowed) if may for event in batch.events]
    cursors = iter(file.events.append_events(events) if events else ())
    for batch, may in zip(batches, allowed):
        if may and batch.end_state is not None:
            _end_run(file, batch.lease.name, batch.end_state)
    return [[next(cursors) for _ in batch.events] if may else None for batch, may in zip(batches, allowed)]


def _may_append(database: Database, batch: WorkBatch) -> bool:
    query = "SELECT 1 FROM work WHERE name = ? AND fence = ?"
    if database.write(query, batch.lease).fetchone() is None:
        return False
    query, row = "SELECT 1 FROM runs WHERE id = ? AND state = ?", (batch.lease.name[len(RUN_PREFIX) :], RUNNING)
    return batch.end_state is None or database.write(query, row).fetchone() is not None


def _end_run(file: StoreFile, name: str, state: str) -> None:
    row = (state, time.time() + file.limits.seconds, name[len(RUN_PREFIX) :])
    file.write("UPDATE runs SET state = ?, until = ? WHERE id = ?", row)
    file.write("DELETE FROM work WHERE name = ?", (name,))


def _list_events(batches: Sequence[WorkBatch], found: Sequence[list[Cursor] | None]) -> list[NewEvent]:
    return [event for batch, cursors in zip(batches, found) if cursors for event in batch.events]


# -- runs ----------------------------------------------------------------------------


def _begin_run(file: StoreFile, process_name: str, run_id: str, details: str) -> WorkLease:
    _add_run(file, run_id, details)
    file.write("UPDATE runs SET state = ? WHERE id = ?", (RUNNING, run_id))
    return _take(file, process_name, RUN_PREFIX + run_id)


def _add_run(file: StoreFile, run_id: str, details: str) -> None:
    """Write the record of a run, if there is none, and delete those that are no longer kept."""
    now = time.time()
    until = now + file.limits.seconds
    file.write("UPDATE runs SET until = ? WHERE until > ?", (until, until))  # written while the clock was ahead
    file.write("DELETE FROM work WHERE name IN (SELECT ? || id FROM runs WHERE until < ?)", (RUN_PREFIX, now))
    file.write("DELETE FROM runs WHERE until < ?", (now,))
    begin = str(Cursor(file.epoch, file.write(NEWEST).fetchone()[0] or 0))
    file.write("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, 0, ?)", (run_id, WAITING, details, begin, until))


def _is_cancelled(database: Database, name: str) -> bool:
    query = "SELECT 1 FROM runs WHERE id = ? AND is_cancelled"
    is_run = name.startswith(RUN_PREFIX)
    return is_run and database.read(query, (name[len(RUN_PREFIX) :],)).fetchone() is not None


def _describe_run(
    state: str, details: str, begin: str, is_cancelled: int, holder: str | None, until: float | None, fence: int | None
) -> RunRecord:
    is_held = holder is not None and _is_alive(holder, until or 0.0)
    return RunRecord(state, details, Cursor.parse(begin) or Cursor("", 0), bool(is_cancelled), is_held, fence or 0)
