"""Finds runs whose process is dead, and ends them as lost, or goes on with them by their resume function.

Every process that has readers of runs, or runs with resume functions, looks once a second. Exactly one of them ends a
run, or takes it over: the store decides. It also ends the streams here that missed the end of their run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Collection, Mapping

from ..brokers import RUN_PREFIX, RUNNING, WAITING, Broker, Range, RunRecord, WorkLease
from ..options import log
from ..sse.cursor import Cursor
from ..sse.decode import Decoder
from ..util import forks
from .details import CANCELLED, END_STATES, LOST, RunDetails, RunEvent, make_end_batch, make_end_body
from .parts import WorkParts
from .resume import ResumeFunctions
from .run import Run

if TYPE_CHECKING:
    from .host import RunHost

#: Seconds between the first look that finds a run without a process and the one that believes it: after an outage of
#: the store, all leases have expired until their processes renew them, which they do each second.
CONFIRM_SECONDS = 1.5

#: Seconds that a process without a run's resume function leaves to others that have it, such as newer workers.
UNKNOWN_SECONDS = 5.0


class LostRuns:
    """
    :param host: of which these runs are.
    :param parts: what feeds and runs share.
    :param end_readers: offers a frame to the streams of a channel in this process.
    :param resume_functions: those that go on with runs whose process is dead.
    """

    def __init__(
        self,
        host: RunHost,
        parts: WorkParts,
        end_readers: Callable[[str, bytes], None],
        resume_functions: ResumeFunctions,
    ) -> None:
        self._host = host
        self._parts = parts
        self._end_readers = end_readers
        self._resume_functions = resume_functions
        self.disown()
        forks.register_owner(self)

    def disown(self) -> None:
        """In a forked child: nothing was found yet."""
        #: When (monotonic time) each run was first found without a process.
        self.suspects: dict[str, float] = {}
        #: Whether this process may go on with the runs of others. One that is about to stop does not.
        self.may_resume = True

    @property
    def _broker(self) -> Broker:
        return self._parts.get_broker()

    @property
    def can_resume(self) -> bool:
        """Whether this process has resume functions."""
        return self._resume_functions.are_used

    def suspect(self, run_id: str) -> None:
        """A run was found without a process: have it looked at again."""
        self.suspects.setdefault(run_id, time.monotonic())
        self._parts.keeper.wake()

    def forget(self, run_id: str) -> None:
        """Nobody reads this run here any more."""
        self.suspects.pop(run_id, None)

    def look(self, free: Collection[str]) -> None:
        """Settle what becomes of runs that are without a process for long enough.

        :param free: the ids of the runs that are watched here and that no living process executes.
        :raises BrokerUnavailable: the next look repeats it.
        """
        found = set(free)
        if self.can_resume:
            found.update(self._broker.work.find_lost_runs())
        now = time.monotonic()
        self.suspects = {run_id: self.suspects.get(run_id, now) for run_id in found}
        due = [run_id for run_id, since in self.suspects.items() if now - since >= CONFIRM_SECONDS]
        if due:
            self.settle(due)

    def settle(self, run_ids: Collection[str]) -> None:
        """End these runs, or go on with them, unless they have a process or have ended.

        :raises BrokerUnavailable: it is not known what was done. A repeated call does no harm.
        """
        records = self._broker.work.read_runs(run_ids)
        lost = {run_id: it for run_id, it in records.items() if it.state == RUNNING and not it.is_held}
        for run_id in run_ids:
            record = records.get(run_id)
            if record is None or record.state in END_STATES:
                self._end_missed(run_id, LOST if record is None else record.state)
                self.suspects.pop(run_id, None)
            elif record.state != WAITING and record.is_held:
                self.suspects.pop(run_id, None)
        resumed = {run_id for run_id, record in lost.items() if self._resume(run_id, record)}
        self._end_runs({run_id: record for run_id, record in lost.items() if run_id not in resumed})

    def _end_missed(self, run_id: str, state: str) -> None:
        """End the streams of a run in this process, whose last event they missed."""
        self._end_readers(RUN_PREFIX + run_id, make_end_body(state))

    def _end_runs(self, lost: Mapping[str, RunRecord]) -> None:
        """End these runs, in one call."""
        batches = [
            make_end_batch(WorkLease(RUN_PREFIX + run_id, record.fence), CANCELLED if record.is_cancelled else LOST)
            for run_id, record in lost.items()
        ]
        results = self._broker.work.append_work(batches) if batches else []
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
        if not self.may_resume:
            return True
        function = self._resume_functions.find_function(details.resume)
        if function is None:
            if self._is_new_suspect(run_id):
                return True
            log.error("the run %s cannot be resumed: there is no function %s", run_id, details.resume)
            return False
        leases = self._broker.work.take_work([RUN_PREFIX + run_id])
        if leases and self._is_running(run_id):
            run = Run(self._host, run_id, details)
            self._host.tasks.resume_run(leases[0], details, lambda: function(run, self._read_last(run, record.begin)))
            log.warning("the run %s is resumed: the process that executed it is gone", run_id)
        elif leases:
            self._broker.work.release_work(leases)
        self.suspects.pop(run_id, None)
        return True

    def _is_new_suspect(self, run_id: str) -> bool:
        """Return whether other processes have some time left to go on with a run; it is looked at again then."""
        self.suspect(run_id)
        return time.monotonic() - self.suspects[run_id] < CONFIRM_SECONDS + UNKNOWN_SECONDS

    def _is_running(self, run_id: str) -> bool:
        record = self._broker.work.read_runs([run_id]).get(run_id)
        return record is not None and record.state == RUNNING

    def _read_last(self, run: Run, begin: Cursor) -> RunEvent | None:
        """Return the last event of a run; None if it has none, or if the history no longer keeps it."""
        history = self._broker.history
        newest = history.get_newest_cursor()
        if newest.epoch != begin.epoch:
            return None
        last = history.find_last_event(run.channel, Range(begin.sequence, newest.sequence))
        return None if last is None else _make_event(last.body, Cursor(newest.epoch, last.sequence))


def _make_event(body: bytes, cursor: Cursor) -> RunEvent | None:
    frames: list[Any] = Decoder().feed(body)
    return RunEvent(frames[0].event or "message", frames[0].data or "", str(cursor)) if frames else None
