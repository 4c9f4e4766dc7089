"""The work of the PostgreSQL broker. What changes it in the database is in ``sql/work.sql``."""

from __future__ import annotations

import logging
from typing import Any, Collection, Sequence

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.cursor import Cursor
from ..contract import constants
from ..contract.work import RUN_PREFIX, KeptWork, RunRecord, Work, WorkBatch, WorkLease
from ..names import is_dead_process
from .appending import list_cursors, pack_events
from .history import PostgresHistory
from .store import PostgresStore
from .values import pack_integers, pack_sequences, pack_texts

log = logging.getLogger("flask_ssemux")

#: Seconds after which a lease that has expired, and is not of a run, is deleted.
FORGOTTEN = 3600.0


class PostgresWork(Work):
    def __init__(self, store: PostgresStore, history: PostgresHistory, process_name: str) -> None:
        self._store = store
        self._history = history
        self._process_name = process_name
        self._has_worked = False

    def take_work(self, names: Collection[str]) -> list[WorkLease]:
        self._has_worked = True
        with self._store.changing() as call:
            found, holders = self._take_once(call, names, [])
            dead = {holder for holder in holders.values() if is_dead_process(holder)}
            if dead:
                again = [name for name, holder in holders.items() if holder in dead]
                found.update(self._take_once(call, again, dead)[0])
        return [found[name] for name in names if name in found]

    def _take_once(
        self, call: Any, names: Collection[str], dead: Collection[str]
    ) -> tuple[dict[str, WorkLease], dict[str, str]]:
        """Return the leases that were taken, and the holders of the others, by name."""
        rows = call(
            "take_work", self._process_name, pack_texts(names), constants.WORK_SECONDS, FORGOTTEN, pack_texts(dead),
            may_repeat=True,
        )  # fmt: skip
        found = {name: WorkLease(name, fence) for name, fence, _ in rows if fence}
        return found, {name: holder for name, fence, holder in rows if not fence}

    def keep_work(
        self, leases: Collection[WorkLease], wants: Collection[str] = (), watches: Collection[str] = ()
    ) -> KeptWork:
        self._has_worked = self._has_worked or bool(wants)
        rows = self._store.call(
            "keep_work", self._process_name, *_pack_leases(leases), pack_texts(wants), pack_texts(watches),
            constants.WORK_SECONDS, may_repeat=True,
        )  # fmt: skip
        dead = {holder for holder in {row[3] for row in rows} if is_dead_process(holder)} if rows else set()
        alive = [row for row in rows if row[3] not in dead]
        held = {WorkLease(name, fence) for kind, name, fence, _ in alive if kind == "held"}
        wanted = {name for kind, name, _, _ in alive if kind == "wanted"}
        busy = {name for kind, name, _, _ in alive if kind == "busy"}
        cancelled = {name for kind, name, _, _ in alive if kind == "cancelled"}
        kept = [lease for lease in leases if lease in held]
        wanted.intersection_update(lease.name for lease in kept)
        return KeptWork(kept, wanted, {*wants, *watches} - busy, cancelled)

    def release_work(self, leases: Collection[WorkLease]) -> None:
        try:
            self._store.call("release_work", *_pack_leases(leases), may_repeat=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("work was not released: %s", error)

    def append_work(self, batches: Sequence[WorkBatch]) -> list[list[Cursor] | None]:
        rows = self._store.call(
            "append_work", *_pack_leases([batch.lease for batch in batches]),
            pack_texts(batch.end_state for batch in batches), pack_integers(len(batch.events) for batch in batches),
            pack_integers(batch.number for batch in batches),
            *pack_events([event for batch in batches for event in batch.events]), constants.OWN_EVENTS,
            self._store.address.commit_mode, may_repeat=all(batch.number for batch in batches),
        )  # fmt: skip
        over, epochs, lasts, repeated = rows[0]
        answers = [Cursor(*answer) if answer[0] else None for answer in zip(epochs, lasts)]
        new = [batch.events for batch, answer, old in zip(batches, answers, repeated) if answer and not old]
        if new:
            last = max(answer for answer, old in zip(answers, repeated) if answer and not old)
            self._history.announce_events([event for events in new for event in events], last, over)
        return [list_cursors(it, len(batch.events)) if it else None for batch, it in zip(batches, answers)]

    def remove_all(self) -> None:
        """Release all leases of this process, and delete what it wants. Never raises."""
        if self._has_worked:
            try:
                self._store.call("remove_work", self._process_name, may_repeat=True)
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("work was not released: %s", error)

    # -- runs --------------------------------------------------------------

    def plan_run(self, run_id: str, details: str) -> None:
        self._store.call("plan_run", run_id, details, may_repeat=True)

    def begin_run(self, run_id: str, details: str) -> WorkLease:
        self._has_worked = True
        ((fence,),) = self._store.call("begin_run", run_id, self._process_name, details, constants.WORK_SECONDS)
        return WorkLease(RUN_PREFIX + run_id, fence)

    def read_runs(self, run_ids: Collection[str]) -> dict[str, RunRecord]:
        rows = self._store.read("read_runs", pack_texts(run_ids))
        return {run_id: _describe_run(*row) for run_id, *row in rows}

    def find_lost_runs(self) -> list[str]:
        rows = self._store.read("list_running")
        return [run_id for run_id, holder in rows if not holder or is_dead_process(holder)]

    def cancel_run(self, run_id: str) -> bool:
        return bool(self._store.call("cancel_run", run_id, may_repeat=True)[0][0])


def _describe_run(state: str, details: str, begin: str, is_cancelled: bool, holder: str, fence: int) -> RunRecord:
    is_held = bool(holder) and not is_dead_process(holder)
    return RunRecord(state, details, Cursor.parse(begin) or Cursor("", 0), is_cancelled, is_held, fence)


def _pack_leases(leases: Collection[WorkLease]) -> tuple[bytes, bytes]:
    return pack_texts(lease.name for lease in leases), pack_sequences(lease.fence for lease in leases)
