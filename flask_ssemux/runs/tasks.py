"""The runs that this process executes, from their beginning to their end. The keeper renews their leases.

How one of them is executed is in ``task.py``. Runs of other processes are not known here.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Callable, Collection, Iterable

from ..brokers import RUN_PREFIX, KeptWork, WorkLease, call_from_any_thread
from ..options import log
from ..tracing.tracing import MakeContext
from ..util import forks
from ..util.supervise import attempt
from .details import END_STATES, FAILED, LOST, RunDetails, make_end_batch
from .environment import RunEnvironment
from .messages import announce_free
from .parts import WorkParts
from .room import RunRoom
from .task import RunTask

#: Seconds that the generators of runs that are given up have to end.
GIVE_UP_SECONDS = 1.0

#: Seconds after which it is logged that a generator does not end.
LATE_SECONDS = 10.0

#: Returns what a run yields from. It is called in the run's thread.
MakeSource = Callable[[], Iterable[Any]]


class RunTasks:
    """A member of the keeper.

    :param parts: what feeds and runs share.
    :param room: how many runs there may be.
    """

    def __init__(self, environment: RunEnvironment, parts: WorkParts, room: RunRoom) -> None:
        self._environment = environment
        self._parts = parts
        self._room = room
        self._begin_process()
        parts.keeper.add_member(self)
        forks.register_owner(self)

    def _begin_process(self) -> None:
        self._tasks: dict[str, RunTask] = {}
        self.started = 0
        self.ended = dict.fromkeys(END_STATES, 0)

    def disown(self) -> None:
        """In a forked child: the runs are the parent's."""
        self._room.begin_process()
        self._begin_process()

    def find_task(self, run_id: str) -> RunTask | None:
        """Return the task of a run that this process executes."""
        return self._tasks.get(run_id)

    def count_running(self) -> int:
        """Return how many runs this process executes."""
        return len(self._tasks)

    def cancel_task(self, run_id: str) -> bool:
        """Cancel a run; return whether this process executes it."""
        task = self._tasks.get(run_id)
        if task is not None:
            task.cancel()
        return task is not None

    # -- begin -----------------------------------------------------------------

    def begin_run(self, run_id: str, details: RunDetails, text: str, make_source: MakeSource) -> None:
        """Begin a run that is new, or that was planned. It is executed in gevent's loop, whichever thread calls.

        :param text: the details, as they are stored.
        :raises RuntimeError: the system has no thread left. The run has failed.
        """
        make_context = self._environment.tracing.carry_context(self._environment.make_context)
        call_from_any_thread(partial(self._begin_here, run_id, details, text, make_source, make_context))

    def _begin_here(
        self, run_id: str, details: RunDetails, text: str, make_source: MakeSource, make_context: MakeContext
    ) -> None:
        broker = self._environment.get_publishing_broker()
        self._room.take_room(details.owner)
        try:
            lease = broker.work.begin_run(run_id, text)
        except BaseException:
            self._release_room(details)
            raise
        try:
            self._execute(lease, details, make_source, make_context)
        except BaseException:
            attempt("a run that was not started could not be ended", broker.work.append_work,
                    [make_end_batch(lease, FAILED)])  # fmt: skip
            raise

    def resume_run(self, lease: WorkLease, details: RunDetails, make_source: MakeSource) -> None:
        """Go on with a run whose process is dead.

        :param lease: of the run, which this process has taken.
        :raises RuntimeError: the system has no thread left. Any process can take the run.
        """
        self._room.take_room(details.owner, must=True)
        try:
            self._execute(lease, details, make_source, self._environment.make_context)
        except BaseException:
            self._parts.get_broker().work.release_work([lease])
            raise

    def _execute(
        self, lease: WorkLease, details: RunDetails, make_source: MakeSource, make_context: MakeContext
    ) -> None:
        outbox = self._parts.batches.open_outbox(lease)
        task = RunTask(make_source, outbox, details, self._environment.make_event, make_context, self._note_end)
        self._tasks[task.run_id] = task
        try:
            if not self._parts.keeper.wake():
                raise RuntimeError("the system has no thread left that renews the lease of a run")
            task.start()
        except BaseException:
            self._remove_task(task)
            raise
        self.started += 1

    # -- end -------------------------------------------------------------------

    def _note_end(self, task: RunTask) -> None:
        self.ended[task.state or LOST] += 1
        self._remove_task(task)

    def _remove_task(self, task: RunTask) -> None:
        if self._tasks.get(task.run_id) is task:  # otherwise it was lost, and is resumed here by another task
            del self._tasks[task.run_id]
        self._release_room(task.details)

    def _release_room(self, details: RunDetails) -> None:
        attempt("the slot of a run could not be released", self._room.release_room, details.owner)

    def give_up(self, reason: str) -> None:
        """End all runs: the process ends. Those with a resume function go on elsewhere.

        :param reason: for the log.
        """
        tasks = list(self._tasks.values())
        for task in tasks:
            log.error("the run %s %s: %s", task.run_id, "goes on elsewhere" if task.can_resume else "is lost", reason)
            task.begin_end()
        deadline = time.monotonic() + GIVE_UP_SECONDS
        for task in tasks:
            attempt("a run could not be ended", task.give_up, deadline)
        self._leave([task.lease for task in tasks if task.can_resume])

    def _leave(self, leases: Collection[WorkLease]) -> None:
        if leases:
            broker, names = self._parts.get_broker(), [lease.name for lease in leases]
            broker.work.release_work(leases)
            attempt("others look for these runs by themselves", announce_free, broker, names)

    # -- the keeper's member -----------------------------------------------------

    @property
    def is_needed(self) -> bool:
        return bool(self._tasks)

    def list_leases(self) -> Collection[WorkLease]:
        return [task.lease for task in list(self._tasks.values()) if task.has_lease]

    def list_wants(self) -> Collection[str]:
        return ()

    def list_watches(self) -> Collection[str]:
        return ()

    def note_kept(self, kept: KeptWork, lost: Collection[WorkLease]) -> None:
        for lease in lost:
            task = self._tasks.get(lease.name[len(RUN_PREFIX) :])
            # A run that is just being ended releases its lease: only the answer of that call says what became of it.
            if task is not None and task.lease == lease and not task.is_ending:
                task.lose()
        for name in kept.cancelled:
            self.cancel_task(name[len(RUN_PREFIX) :])
        for task in list(self._tasks.values()):
            task.check_closed(LATE_SECONDS)
        self._room.renew_slots()

    def note_unreachable(self, seconds: float) -> None:
        """Runs go on: their events wait for the store, and their leases cannot be taken while it is away."""

    def get_figures(self) -> dict[str, Any]:
        """Return the figures of the report."""
        if not self.started:
            return {}
        ended = {"runs_" + state: count for state, count in self.ended.items()}
        return {"runs": len(self._tasks), "runs_started": self.started, **ended}
