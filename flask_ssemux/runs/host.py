"""The runs of one application in this process: those that it executes, and those that have readers here.

It starts, cancels and gives up runs. What becomes of a run whose process is dead is decided in ``lost.py``. No
requests, no streams: what it needs of the application is passed in.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Collection, ContextManager, Iterable, NamedTuple

from ..brokers import RUN_PREFIX, RUNNING, WAITING, Broker, KeptWork, RunRecord, WorkLease
from ..errors import ApplicationError
from ..options import log
from ..sse.data import JSONWriter
from ..sse.encode import make_run_channel
from ..util import forks
from ..util.background import run_in_background
from ..util.printable import show_value
from ..util.supervise import attempt
from .details import (
    CANCELLED,
    END_STATES,
    LOST,
    RunDetails,
    check_owner,
    check_source,
    make_end_batch,
    make_end_body,
    make_run_id,
)
from .lost import LostRuns
from .messages import WORK_CHANNEL, WorkMessage, announce_free
from .parts import WorkParts
from .resume import ResumeFunctions
from .room import RunRoom
from .run import Run
from .task import MakeBody, RunTask

#: Seconds that the generators of runs that are given up have to end.
GIVE_UP_SECONDS = 1.0


class RunEnvironment(NamedTuple):
    """What runs need of an application, or of a ``Publisher``.

    :param get_publishing_broker: returns the broker, if this process may publish on it.
    :param make_body: returns the body of an event.
    :param get_json_writer: returns how the application writes JSON.
    :param make_context: returns the context in which generators run.
    :param make_url: returns the path of a run.
    :param make_response: answers the current request with a run.
    :param end_readers: offers a frame to the streams of a channel in this process.
    """

    get_publishing_broker: Callable[[], Broker]
    make_body: MakeBody
    get_json_writer: Callable[[], JSONWriter]
    make_context: Callable[[], ContextManager[Any]]
    make_url: Callable[[str], str]
    make_response: Callable[[Run, bool], Any]
    end_readers: Callable[[str, bytes], None] = lambda channel, frame: None


class RunHost:
    """
    :param parts: what feeds and runs share.
    :param room: how many runs there may be.
    :param resume_functions: those that go on with runs whose process is dead.
    """

    def __init__(
        self, environment: RunEnvironment, parts: WorkParts, room: RunRoom, resume_functions: ResumeFunctions
    ) -> None:
        self._environment = environment
        self._parts = parts
        self._room = room
        self.resume_functions = resume_functions
        self._begin_process()
        parts.keeper.add_member(self)
        parts.messages.handlers.append(self._handle_message)
        forks.register_owner(self)

    def _begin_process(self) -> None:
        self._tasks: dict[str, RunTask] = {}
        #: Those of them that another process can go on with.
        self._resumable: set[str] = set()
        #: How many streams read each run in this process.
        self._readers: dict[str, int] = {}
        #: Whether this process looks for runs that it can resume, although it has none itself.
        self._is_watching = False
        #: Whether this process may go on with the runs of others. One that is about to stop does not.
        self.may_resume = True
        self._lost = LostRuns(self)
        self.started = 0
        self.ended = dict.fromkeys(END_STATES, 0)

    def disown(self) -> None:
        """In a forked child: the runs are the parent's."""
        self._room.begin_process()
        self._begin_process()

    @property
    def broker(self) -> Broker:
        return self._parts.get_broker()

    # -- what applications call ----------------------------------------------

    def start_run(self, source: Any, owner: Any = None, data: Any = None, resume: Any = None) -> Run:
        """See ``flask_ssemux.start_run``."""
        source = check_source(source)
        details = RunDetails(check_owner(owner), self.resume_functions.name_function(resume), data)
        text = details.to_json(self._environment.get_json_writer())
        run_id = make_run_id()
        self._begin(run_id, details, text, lambda: source)
        return Run(self, run_id, details)

    def plan_run(self, owner: Any = None, data: Any = None) -> Run:
        """See ``flask_ssemux.plan_run``."""
        details = RunDetails(check_owner(owner), None, data)
        run_id = make_run_id()
        text = details.to_json(self._environment.get_json_writer())
        self._environment.get_publishing_broker().work.plan_run(run_id, text)
        return Run(self, run_id, details)

    def begin_planned_run(self, run_id: str, source: Any) -> Run:
        """Start a run that was planned.

        :raises ApplicationError: there is no such run that waits.
        """
        source = check_source(source)
        record = self.read_record(run_id)
        if record is None or record.state != WAITING or record.is_cancelled:
            state = "unknown" if record is None else CANCELLED if record.is_cancelled else record.state
            raise ApplicationError("the run %s does not wait to be started: it is %s" % (show_value(run_id), state))
        details = RunDetails.from_json(record.details)
        self._begin(run_id, details, record.details, lambda: source)
        return Run(self, run_id, details)

    def get_run(self, run_id: str) -> Run | None:
        """See ``flask_ssemux.get_run``."""
        record = self.read_record(run_id)
        return None if record is None else Run(self, run_id, RunDetails.from_json(record.details))

    def read_state(self, run_id: str) -> str | None:
        """See ``flask_ssemux.run_state``."""
        record = self.read_record(run_id)
        if record is None:
            return None
        if record.state == RUNNING and not record.is_held:
            self._lost.suspect(run_id)
        return record.state

    def cancel_run(self, run_id: str, owner: Any = None) -> bool:
        """See ``flask_ssemux.cancel_run``."""
        owner, record = check_owner(owner), self.read_record(run_id)
        if record is None or record.state in END_STATES:
            return False
        if owner is not None and RunDetails.from_json(record.details).owner != owner:
            return False
        broker = self._environment.get_publishing_broker()
        if not broker.work.cancel_run(run_id):
            return False
        task = self._tasks.get(run_id)
        if task is not None:
            task.cancel()
        elif record.state == WAITING or not record.is_held:
            self._end_without_process(run_id, record)
        else:
            broker.history.append_event(WORK_CHANNEL, WorkMessage(cancel=run_id).to_json())
        return True

    # -- what views need -------------------------------------------------------

    def read_record(self, run_id: object) -> RunRecord | None:
        """Return what the store has of a run; None if there is none.

        :raises BrokerUnavailable: the store did not answer.
        """
        channel = make_run_channel(run_id)
        return self.broker.work.read_runs([channel[len(RUN_PREFIX) :]]).get(str(run_id)) if channel else None

    def make_url(self, run_id: str) -> str:
        """See ``Run.url``."""
        return self._environment.make_url(run_id)

    def make_response(self, run: Run, comments: bool) -> Any:
        """See ``Run.response``."""
        return self._environment.make_response(run, comments)

    def find_task(self, run_id: str) -> RunTask | None:
        """Return the task of a run that this process executes."""
        return self._tasks.get(run_id)

    def add_reader(self, run_id: str) -> None:
        """A stream reads this run, and must hear of its end. ``remove_reader`` follows."""
        self._readers[run_id] = self._readers.get(run_id, 0) + 1
        if run_id not in self._tasks:
            self.wake_keeper()

    def remove_reader(self, run_id: str) -> None:
        """The stream has ended."""
        left = self._readers.get(run_id, 0) - 1
        if left > 0:
            self._readers[run_id] = left
        else:
            self._readers.pop(run_id, None)
            self._lost.forget(run_id)

    def watch_for_lost(self) -> None:
        """Look for runs that this process can resume from now on, if it has resume functions. Further calls do
        nothing."""
        if self.resume_functions.are_used and not self._is_watching:
            self._is_watching = True
            self.wake_keeper()

    def end_readers(self, run_id: str, state: str) -> None:
        """End the streams of a run in this process, whose last event they missed."""
        self._environment.end_readers(RUN_PREFIX + run_id, make_end_body(state))

    # -- executing runs --------------------------------------------------------

    def _begin(self, run_id: str, details: RunDetails, text: str, make_source: Callable[[], Iterable[Any]]) -> None:
        broker = self._environment.get_publishing_broker()
        self._room.take_room(details.owner)
        try:
            lease = broker.work.begin_run(run_id, text)
        except BaseException:
            self._room.release_room(details.owner)
            raise
        self._execute(lease, details, make_source)

    def resume_run(self, lease: WorkLease, details: RunDetails, make_source: Callable[[], Iterable[Any]]) -> None:
        """Go on with a run whose process is dead.

        :param lease: of the run, which this process has taken.
        """
        self._room.take_room(details.owner, must=True)
        self._execute(lease, details, make_source)

    def _execute(self, lease: WorkLease, details: RunDetails, make_source: Callable[[], Iterable[Any]]) -> None:
        environment, outbox = self._environment, self._parts.batches.open_outbox(lease)

        def on_end(task: RunTask) -> None:
            if self._tasks.get(task.run_id) is task:  # otherwise it was lost, and is resumed here by another task
                del self._tasks[task.run_id]
                self._resumable.discard(task.run_id)
            self.ended[task.state or LOST] += 1
            attempt("the slot of a run could not be released", self._room.release_room, details.owner)

        task = RunTask(make_source, outbox, environment.make_body, environment.make_context, on_end)
        self._tasks[task.run_id] = task
        if details.resume is not None:
            self._resumable.add(task.run_id)
        self.started += 1
        self.wake_keeper()
        task.start()

    def wake_keeper(self) -> None:
        """Have leases renewed, and lost runs looked for, from now on."""
        self._parts.keeper.wake()

    def _end_without_process(self, run_id: str, record: RunRecord) -> None:
        """End a cancelled run that no process executes; if one does by now, it ends the run."""
        lease = WorkLease(RUN_PREFIX + run_id, record.fence)
        if record.state == WAITING:
            lease = self.broker.work.begin_run(run_id, record.details)
        self.broker.work.append_work([make_end_batch(lease, CANCELLED)])

    def _handle_message(self, message: WorkMessage) -> None:
        task = self._tasks.get(message.cancel)
        if task is not None:
            task.cancel()
        free = [name[len(RUN_PREFIX) :] for name in message.free if name.startswith(RUN_PREFIX)]
        if free:  # their processes gave them up
            run_in_background("ssemux-lost", self._lost.settle, free)

    # -- the end of the process ------------------------------------------------

    def count_running(self) -> int:
        """Return how many runs this process executes."""
        return len(self._tasks)

    def stop_resuming(self) -> None:
        """This process is about to stop: leave runs whose process is dead to others, its own ones too."""
        self.may_resume = False

    def give_up(self, reason: str) -> None:
        """End all runs that this process still executes: it ends. Those with a resume function go on elsewhere.

        :param reason: for the log.
        """
        self.stop_resuming()
        tasks = list(self._tasks.values())
        released = [task for task in tasks if task.run_id in self._resumable]
        for task in tasks:
            log.error("the run %s %s: %s", task.run_id, "goes on elsewhere" if task in released else "is lost", reason)
            task.begin_end(task in released)
        deadline = time.monotonic() + GIVE_UP_SECONDS
        for task in tasks:
            attempt("a run could not be ended", task.give_up, deadline)
        leases = [task.lease for task in released]
        if leases:
            self.broker.work.release_work(leases)
            attempt("others look for these runs by themselves", announce_free, self.broker, [it.name for it in leases])

    # -- the keeper's member -----------------------------------------------------

    @property
    def is_needed(self) -> bool:
        return bool(self._tasks or self._readers or self._lost.suspects or self._is_watching)

    def list_leases(self) -> Collection[WorkLease]:
        return [task.lease for task in list(self._tasks.values()) if task.has_lease]

    def list_wants(self) -> Collection[str]:
        return ()

    def list_watches(self) -> Collection[str]:
        held = {task.run_id for task in list(self._tasks.values()) if task.has_lease}
        return [RUN_PREFIX + run_id for run_id in [*self._readers, *self._lost.suspects] if run_id not in held]

    def note_kept(self, kept: KeptWork, lost: Collection[WorkLease]) -> None:
        for lease in lost:
            task = self._tasks.get(lease.name[len(RUN_PREFIX) :])
            # A run that is just being ended releases its lease: only the answer of that call says what became of it.
            if task is not None and task.lease == lease and not task.is_ending:
                task.lose()
        for name in kept.cancelled:
            task = self._tasks.get(name[len(RUN_PREFIX) :])
            if task is not None:
                task.cancel()
        self._room.renew_slots()
        watched = set(self.list_watches())
        self._lost.look([name[len(RUN_PREFIX) :] for name in kept.free if name in watched])

    def note_unreachable(self, seconds: float) -> None:
        """Runs go on: their events wait for the store, and their leases cannot be taken while it is away."""

    def get_figures(self) -> dict[str, Any]:
        """Return the figures of the report."""
        if not self.started:
            return {}
        ended = {"runs_" + state: count for state, count in self.ended.items()}
        return {"runs": len(self._tasks), "runs_started": self.started, **ended}
