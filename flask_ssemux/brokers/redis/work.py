"""The work of the Redis broker: leases, events under a lease, and records of runs. The scripts make all changes."""

from __future__ import annotations

import logging
from itertools import chain
from typing import Collection, Iterable, Sequence

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.cursor import Cursor
from ..contract import constants
from ..contract.work import RUN_PREFIX, KeptWork, RunRecord, Work, WorkBatch, WorkLease
from ..names import is_dead_process
from . import scripts
from .history import RedisHistory
from .store import RedisStore

log = logging.getLogger("flask_ssemux")

#: Milliseconds that a lease lasts, as scripts take them.
_LASTS = int(constants.WORK_SECONDS * 1000)


class RedisWork(Work):
    def __init__(self, store: RedisStore, history: RedisHistory, process_name: str) -> None:
        self._store = store
        self._history = history
        self._process_name = process_name
        #: The newest fence of each name that this process has taken and not released.
        self._taken: dict[str, int] = {}
        #: What this process wants, as far as it is written.
        self._wants: frozenset[str] = frozenset()

    def take_work(self, names: Collection[str]) -> list[WorkLease]:
        taken, holders = self._take_free(names, ())
        dead = {holder for holder in set(holders.values()) if is_dead_process(holder)}
        if dead:
            left = [name for name, holder in holders.items() if holder in dead]
            taken += self._take_free(left, dead)[0]
        return taken

    def _take_free(self, names: Collection[str], dead: Collection[str]) -> tuple[list[WorkLease], dict[str, str]]:
        """Return the leases that were taken, and the holders of the others by name."""
        rows = self._store.call(scripts.TAKE_WORK, self._process_name, _LASTS, len(dead), *dead, *names)[2]
        values = [value.decode("utf-8") for value in rows]
        found = list(zip(names, values[::2], values[1::2]))
        taken = [WorkLease(name, int(fence)) for name, fence, _ in found if fence]
        self._taken.update(taken)
        return taken, {name: holder for name, fence, holder in found if not fence}

    def keep_work(
        self, leases: Collection[WorkLease], wants: Collection[str] = (), watches: Collection[str] = ()
    ) -> KeptWork:
        asked, wanted_here = list(dict.fromkeys((*wants, *watches))), frozenset(wants)
        drops = self._wants - wanted_here
        if not (leases or asked or drops):
            self._store.check_open()
            return KeptWork([], set(), set())
        parts = (len(leases), *chain(*leases), len(wanted_here), *wanted_here, len(drops), *drops)
        names = list(wanted_here) + [name for name in asked if name not in wanted_here]
        answer = self._store.call(scripts.KEEP_WORK, self._process_name, _LASTS, *parts, *names[len(wanted_here) :])
        self._wants = wanted_here
        held = [lease for lease, is_held in zip(leases, answer[2]) if is_held]
        wanted = {lease.name for lease, processes in zip(leases, answer[3]) if _list_living(processes)}
        free = {name for name, holder in zip(names, answer[4]) if not _list_living([holder])}
        cancelled = {lease.name for lease, code in zip(leases, answer[2]) if code == 2}
        return KeptWork(held, wanted, free, cancelled)

    def release_work(self, leases: Collection[WorkLease]) -> None:
        for name, fence in leases:
            if self._taken.get(name) == fence:
                del self._taken[name]
        try:
            if leases:
                self._store.call(scripts.RELEASE_WORK, *chain(*leases))
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases of work were not released: %s", error)

    def append_work(self, batches: Sequence[WorkBatch]) -> list[list[Cursor] | None]:
        heads = chain.from_iterable(
            (*batch.lease, batch.end_state or "", batch.number, len(batch.events)) for batch in batches
        )
        events = (event for batch in batches for event in batch.events)
        values = [value for channel, body, key in events for value in (channel, body, key or "")]
        last, answer = self._history.call_append(scripts.APPEND_WORK, len(batches), *heads, *values)
        return _share_out(batches, last, answer[2].decode("ascii").split())

    # -- runs --------------------------------------------------------------

    def plan_run(self, run_id: str, details: str) -> None:
        self._store.call(scripts.PLAN_RUN, run_id, details)

    def begin_run(self, run_id: str, details: str) -> WorkLease:
        fence = self._store.call(scripts.BEGIN_RUN, self._process_name, _LASTS, run_id, details)[2]
        lease = WorkLease(RUN_PREFIX + run_id, int(fence))
        self._taken[lease.name] = lease.fence
        return lease

    def read_runs(self, run_ids: Collection[str]) -> dict[str, RunRecord]:
        if not run_ids:
            self._store.check_open()
            return {}
        values = [value.decode("utf-8") for value in self._store.read(scripts.READ_RUNS, *run_ids)[2]]
        rows = iter(values)
        return {row[0]: _parse_run(*row[1:]) for row in zip(rows, rows, rows, rows, rows, rows, rows)}

    def find_lost_runs(self) -> list[str]:
        rows = self._store.read(scripts.LIST_RUNNING)[2]
        return [run_id.decode("utf-8") for run_id, holder in zip(rows[::2], rows[1::2]) if not _list_living([holder])]

    def cancel_run(self, run_id: str) -> bool:
        return bool(self._store.call(scripts.CANCEL_RUN, run_id)[2])

    # ----------------------------------------------------------------------

    def remove_all(self) -> None:
        """Release all leases of this process, and remove what it wants. Never raises."""
        self.release_work([WorkLease(*item) for item in self._taken.items()])
        if self._wants:
            try:
                self.keep_work(())
            except (BrokerUnavailable, BrokerClosed) as error:
                log.debug("what this process wants was not removed: %s", error)


def _list_living(processes: Iterable[bytes]) -> list[str]:
    """Return the processes that are not known to be dead."""
    names = [process.decode("utf-8") for process in processes if process]
    return [name for name in names if not is_dead_process(name)]


def _share_out(batches: Sequence[WorkBatch], last: Cursor, verdict: Sequence[str]) -> list[list[Cursor] | None]:
    """Return the cursors of each batch.

    :param last: of the last event that was appended now.
    :param verdict: of each batch "1" if it was appended now, "=<sequence>" of its last event if it was before.
    """
    end = last.sequence - sum(len(batch.events) for batch, word in zip(batches, verdict) if word == "1")
    found: list[list[Cursor] | None] = []
    for batch, word in zip(batches, verdict):
        count = len(batch.events)
        end += count if word == "1" else 0
        upto = int(word[1:]) if word.startswith("=") else end
        cursors = [Cursor(last.epoch, sequence) for sequence in range(upto - count + 1, upto + 1)]
        found.append(cursors if word != "0" else None)
    return found


def _parse_run(state: str, details: str, begin: str, cancelled: str, fence: str, holder: str) -> RunRecord:
    is_held = holder != "" and not is_dead_process(holder)
    cursor = Cursor.parse(begin) or Cursor("", 0)
    return RunRecord(state, details, cursor, cancelled == "1", is_held, int(fence or 0))
