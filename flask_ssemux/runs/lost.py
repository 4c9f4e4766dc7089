"""Finds runs whose process is dead, and ends them as lost, or goes on with them by their resume function.

Every process that has readers of runs, or runs with resume functions, looks once a second. Exactly one of them ends a
run, or takes it over: the store decides. It also ends the streams here that missed the end of their run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Collection, Mapping

from ..brokers import RUN_PREFIX, RUNNING, WAITING, RunRecord, WorkLease
from ..options import log
from ..sse.cursor import Cursor
from ..sse.decode import Decoder
from .details import CANCELLED, END_STATES, LOST, RunDetails, RunEvent, make_end_batch
from .run import Run

if TYPE_CHECKING:
    from .host import RunHost

#: Seconds between the first look that finds a run without a process and the one that believes it: after an outage of
#: the store, all leases have expired until their processes renew them, which they do each second.
CONFIRM_SECONDS = 1.5

#: Seconds that a process without a run's resume function leaves to others that have it, such as newer workers.
UNKNOWN_SECONDS = 5.0

#: How many events are read at once to find the last one.
PAGE = 1000


class LostRuns:
    """
    :param host: the runs of this process.
    """

    def __init__(self, host: RunHost) -> None:
        self._host = host
        #: When (monotonic time) each run was first found without a process.
        self.suspects: dict[str, float] = {}

    def suspect(self, run_id: str) -> None:
        """A run was found without a process: have it looked at again."""
        self.suspects.setdefault(run_id, time.monotonic())
        self._host.wake_keeper()

    def forget(self, run_id: str) -> None:
        """Nobody reads this run here any more."""
        self.suspects.pop(run_id, None)

    def look(self, free: Collection[str]) -> None:
        """Settle what becomes of runs that are without a process for long enough.

        :param free: the ids of the runs that are watched here and that no living process executes.
        :raises BrokerUnavailable: the next look repeats it.
        """
        found = set(free)
        if self._host.resume_functions.are_used:
            found.update(self._host.broker.work.find_lost_runs())
        now = time.monotonic()
        self.suspects = {run_id: self.suspects.get(run_id, now) for run_id in found}
        due = [run_id for run_id, since in self.suspects.items() if now - since >= CONFIRM_SECONDS]
        if due:
            self.settle(due)

    def settle(self, run_ids: Collection[str]) -> None:
        """End these runs, or go on with them, unless they have a process or have ended.

        :raises BrokerUnavailable: it is not known what was done. A repeated call does no harm.
        """
        records = self._host.broker.work.read_runs(run_ids)
        lost = {run_id: it for run_id, it in records.items() if it.state == RUNNING and not it.is_held}
        for run_id in run_ids:
            record = records.get(run_id)
            if record is None or record.state in END_STATES:
                self._host.end_readers(run_id, LOST if record is None else record.state)
                self.suspects.pop(run_id, None)
            elif record.state != WAITING and record.is_held:
                self.suspects.pop(run_id, None)
        resumed = {run_id for run_id, record in lost.items() if self._resume(run_id, record)}
        self._end_runs({run_id: record for run_id, record in lost.items() if run_id not in resumed})

    def _end_runs(self, lost: Mapping[str, RunRecord]) -> None:
        """End these runs, in one call."""
        batches = [
            make_end_batch(WorkLease(RUN_PREFIX + run_id, record.fence), CANCELLED if record.is_cancelled else LOST)
            for run_id, record in lost.items()
        ]
        results = self._host.broker.work.append_work(batches) if batches else []
        for run_id, cursors in zip(lost, results):
            self.suspects.pop(run_id, None)
            if cursors is not None:
                log.error("the run %s is lost: the process that executed it is gone", run_id)

    # -- resume ----------------------------------------------------------------

    def _resume(self, run_id: str, record: RunRecord) -> bool:
        """Return whether this process, or another one, goes on with a run."""
        details = RunDetails.from_json(record.details)
        if details.resume is None or record.is_cancelled:
            return False
        if not self._host.may_resume:
            return True
        function = self._host.resume_functions.find_function(details.resume)
        if function is None:
            if self._is_new_suspect(run_id):
                return True
            log.error("the run %s cannot be resumed: there is no function %s", run_id, details.resume)
            return False
        leases = self._host.broker.work.take_work([RUN_PREFIX + run_id])
        if leases and self._is_running(run_id):
            run = Run(self._host, run_id, details)
            self._host.resume_run(leases[0], details, lambda: function(run, self._read_last(run, record.begin)))
            log.warning("the run %s is resumed: the process that executed it is gone", run_id)
        elif leases:
            self._host.broker.work.release_work(leases)
        self.suspects.pop(run_id, None)
        return True

    def _is_new_suspect(self, run_id: str) -> bool:
        """Return whether other processes have some time left to go on with a run; it is looked at again then."""
        self.suspect(run_id)
        return time.monotonic() - self.suspects[run_id] < CONFIRM_SECONDS + UNKNOWN_SECONDS

    def _is_running(self, run_id: str) -> bool:
        record = self._host.broker.work.read_runs([run_id]).get(run_id)
        return record is not None and record.state == RUNNING

    def _read_last(self, run: Run, begin: Cursor) -> RunEvent | None:
        """Return the last event of a run; None if it has none, or if the history no longer keeps it."""
        history, last = self._host.broker.history, None
        newest, after = history.get_newest_cursor(), begin.sequence
        is_whole = newest.epoch != begin.epoch
        while not is_whole:
            page = history.read_events([run.channel], after, newest.sequence, PAGE)
            is_whole = page.is_whole or not page.records
            if page.records:
                last = page.records[-1]
                after = last.sequence
        return None if last is None else _make_event(last.body, Cursor(newest.epoch, last.sequence))


def _make_event(body: bytes, cursor: Cursor) -> RunEvent | None:
    frames: list[Any] = Decoder().feed(body)
    return RunEvent(frames[0].event or "message", frames[0].data or "", str(cursor)) if frames else None
