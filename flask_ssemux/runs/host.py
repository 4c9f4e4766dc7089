"""The runs of one application in this process, as applications and views see them: start, find, cancel, answer.

What the process executes is in ``tasks.py``. The runs of other processes are watched in ``watch.py``, and what becomes
of one whose process is dead is decided in ``lost.py``. No requests, no streams: what is needed of the application is
passed in.
"""

from __future__ import annotations

from typing import Any

from ..brokers import RUN_PREFIX, RUNNING, WAITING, Broker, RunRecord, WorkLease
from ..errors import ApplicationError
from ..sse.encode import make_run_channel
from ..util.background import run_in_background
from ..util.printable import show_value
from .details import CANCELLED, END_STATES, RunDetails, check_owner, check_source, make_end_batch, make_run_id
from .environment import RunEnvironment
from .lost import LostRuns
from .messages import WORK_CHANNEL, WorkMessage
from .parts import WorkParts
from .resume import ResumeFunctions
from .room import RunRoom
from .run import Run
from .tasks import RunTasks
from .watch import RunWatch


class RunHost:
    """
    :param parts: what feeds and runs share.
    :param room: how many runs there may be.
    :param resume_functions: those that go on with runs whose process is dead.

    :ivar tasks: the runs that this process executes.
    :ivar watch: those that others execute, and that have readers here.
    :ivar lost: those whose process is dead.
    """

    def __init__(
        self, environment: RunEnvironment, parts: WorkParts, room: RunRoom, resume_functions: ResumeFunctions
    ) -> None:
        self._environment = environment
        self._get_broker = parts.get_broker
        self._resume_functions = resume_functions
        self.tasks = RunTasks(environment, parts, room)
        self.lost = LostRuns(self, parts, environment.end_readers, resume_functions)
        self.watch = RunWatch(parts, self.tasks, self.lost)
        parts.messages.handlers.append(self._handle_message)

    @property
    def broker(self) -> Broker:
        return self._get_broker()

    # -- what applications call ----------------------------------------------

    def start_run(self, source: Any, owner: Any = None, data: Any = None, resume: Any = None) -> Run:
        """See ``flask_ssemux.start_run``."""
        source = check_source(source)
        details = RunDetails(check_owner(owner), self._resume_functions.name_function(resume), data)
        text = details.to_json(self._environment.get_json_writer())
        run_id = make_run_id()
        self.tasks.begin_run(run_id, details, text, lambda: source)
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
        self.tasks.begin_run(run_id, details, record.details, lambda: source)
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
            self.lost.suspect(run_id)
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
        if not self.tasks.cancel_task(run_id):
            self._cancel_elsewhere(broker, run_id, record)
        return True

    def _cancel_elsewhere(self, broker: Broker, run_id: str, record: RunRecord) -> None:
        """Tell the process that executes a run, or end the run if no process does. If one does by now, it ends it."""
        if record.state != WAITING and record.is_held:
            broker.history.append_event(WORK_CHANNEL, WorkMessage(cancel=run_id).to_json())
            return
        lease = WorkLease(RUN_PREFIX + run_id, record.fence)
        if record.state == WAITING:
            lease = broker.work.begin_run(run_id, record.details)
        broker.work.append_work([make_end_batch(lease, CANCELLED)])

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

    # -- what other processes say, and the end of this one ---------------------

    def _handle_message(self, message: WorkMessage) -> None:
        self.tasks.cancel_task(message.cancel)
        free = [name[len(RUN_PREFIX) :] for name in message.free if name.startswith(RUN_PREFIX)]
        if free:  # their processes gave them up
            run_in_background("ssemux-lost", self.lost.settle, free)

    def stop_resuming(self) -> None:
        """This process is about to stop: leave runs whose process is dead to others, its own ones too."""
        self.lost.may_resume = False

    def give_up(self, reason: str) -> None:
        """End all runs that this process still executes: it ends. Those with a resume function go on elsewhere.

        :param reason: for the log.
        """
        self.stop_resuming()
        self.tasks.give_up(reason)
