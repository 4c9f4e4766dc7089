"""The work of the memory broker: all leases are this process's, so none expires."""

from __future__ import annotations

import time
from typing import Collection, Sequence

from ...sse.cursor import Cursor
from ..contract.work import RUN_PREFIX, RUNNING, WAITING, KeptWork, RunRecord, Work, WorkBatch, WorkLease
from ..records import HistoryLimits
from .history import MemoryHistory
from .store import MemoryStore


class MemoryWork(Work):
    """
    :param limits: how long the records of runs are kept after their end.
    """

    def __init__(self, store: MemoryStore, history: MemoryHistory, limits: HistoryLimits) -> None:
        self._store = store
        self._history = history
        self._limits = limits
        self._fence = 0
        #: The fence of each name, and the names that are held. A run that was released has a fence until it ends.
        self._fences: dict[str, int] = {}
        self._held: set[str] = set()
        self._runs: dict[str, RunRecord] = {}
        #: When (monotonic time) each run that has ended, or that nobody has begun yet, is forgotten.
        self._forget_at: dict[str, float] = {}

    def take_work(self, names: Collection[str]) -> list[WorkLease]:
        with self._store.changed:
            self._store.check_open()
            return [self._take(name) for name in names]

    def _take(self, name: str) -> WorkLease:
        self._fence = max(self._fence + 1, int(time.time() * 1_000_000))
        self._fences[name] = self._fence
        self._held.add(name)
        return WorkLease(name, self._fence)

    def keep_work(
        self, leases: Collection[WorkLease], wants: Collection[str] = (), watches: Collection[str] = ()
    ) -> KeptWork:
        with self._store.changed:
            self._store.check_open()
            held = [lease for lease in leases if self._is_newest(lease)]
            self._held.update(lease.name for lease in held)
            wanted = {lease.name for lease in held}.intersection(wants)
            cancelled = {lease.name for lease in held if self._is_cancelled(lease.name[len(RUN_PREFIX) :])}
            return KeptWork(held, wanted, {*wants, *watches} - self._held, cancelled)

    def _is_cancelled(self, run_id: str) -> bool:
        return run_id in self._runs and self._runs[run_id].is_cancelled

    def _is_newest(self, lease: WorkLease) -> bool:
        return self._fences.get(lease.name) == lease.fence

    def release_work(self, leases: Collection[WorkLease]) -> None:
        with self._store.changed:
            for lease in filter(self._is_newest, leases):
                self._held.discard(lease.name)
                if not lease.name.startswith(RUN_PREFIX):
                    del self._fences[lease.name]

    def append_work(self, batches: Sequence[WorkBatch]) -> list[list[Cursor] | None]:
        with self._store.changed:
            self._store.check_open()
            allowed = [self._may_append(batch) for batch in batches]
            events = [event for batch, may in zip(batches, allowed) if may for event in batch.events]
            cursors = self._history.store_events(events)
            for batch, may in zip(batches, allowed):
                if may and batch.end_state is not None:
                    self._end_run(batch.lease.name, batch.end_state)
        self._history.announce_events(events, cursors)
        left = iter(cursors)
        return [[next(left) for _ in batch.events] if may else None for batch, may in zip(batches, allowed)]

    def _may_append(self, batch: WorkBatch) -> bool:
        run = self._runs.get(batch.lease.name[len(RUN_PREFIX) :])
        may_end = batch.end_state is None or (run is not None and run.state == RUNNING)
        return may_end and self._is_newest(batch.lease)

    def _end_run(self, name: str, state: str) -> None:
        run_id = name[len(RUN_PREFIX) :]
        self._runs[run_id] = self._runs[run_id]._replace(state=state)
        self._forget_at[run_id] = time.monotonic() + self._limits.seconds
        self._held.discard(name)
        del self._fences[name]

    # -- runs --------------------------------------------------------------

    def begin_run(self, run_id: str, details: str) -> WorkLease:
        with self._store.changed:
            self._store.check_open()
            run = self._add_run(run_id, details)
            self._runs[run_id] = run._replace(state=RUNNING)
            self._forget_at.pop(run_id, None)
            return self._take(RUN_PREFIX + run_id)

    def plan_run(self, run_id: str, details: str) -> None:
        with self._store.changed:
            self._store.check_open()
            self._add_run(run_id, details)

    def _add_run(self, run_id: str, details: str) -> RunRecord:
        """Return the record of a run, which is made if there is none."""
        self._forget_runs(time.monotonic())
        if run_id not in self._runs:
            self._runs[run_id] = RunRecord(WAITING, details, self._history.get_cursor(), False, False, 0)
            self._forget_at[run_id] = time.monotonic() + self._limits.seconds
        return self._runs[run_id]

    def _forget_runs(self, now: float) -> None:
        for run_id in [run_id for run_id, moment in self._forget_at.items() if moment <= now]:
            del self._forget_at[run_id], self._runs[run_id]

    def read_runs(self, run_ids: Collection[str]) -> dict[str, RunRecord]:
        with self._store.changed:
            self._store.check_open()
            self._forget_runs(time.monotonic())
            return {run_id: self._describe_run(run_id) for run_id in run_ids if run_id in self._runs}

    def _describe_run(self, run_id: str) -> RunRecord:
        name = RUN_PREFIX + run_id
        return self._runs[run_id]._replace(is_held=name in self._held, fence=self._fences.get(name, 0))

    def find_lost_runs(self) -> list[str]:
        with self._store.changed:
            self._store.check_open()
            running = [run_id for run_id, run in self._runs.items() if run.state == RUNNING]
            return [run_id for run_id in running if RUN_PREFIX + run_id not in self._held]

    def cancel_run(self, run_id: str) -> bool:
        with self._store.changed:
            self._store.check_open()
            run = self._runs.get(run_id)
            if run is None or run.state not in (WAITING, RUNNING):
                return False
            self._runs[run_id] = run._replace(is_cancelled=True)
            return True
