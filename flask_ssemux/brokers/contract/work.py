"""The contract's sixth part: work that one process of the whole deployment does, and whose events only it may append.

A work lease is the right to do a piece of work, such as running the generator of a feed or of a run. Its fence is a
number that grows with each taking: an engine appends events of a lease in the same atomic step in which it compares the
fence, so a process that was asleep appends nothing after another process took the work over. The fence is the maximum
of the last fence plus one and the store's time in microseconds, so it also grows after the store lost everything.

A lease ends when its process releases it or closes its broker, and when a process on its host sees that its process is
dead; on other hosts it ends after ``WORK_SECONDS`` unless it is renewed. A lease that has ended can still be renewed,
and its events are still appended, until another process takes the work or ends the run.

A run has a record besides its lease. It is kept until ``HistoryLimits.seconds`` after the run's end, or after its
process was last seen.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Collection, NamedTuple, Sequence

from ...sse.cursor import Cursor
from ..records import NewEvent
from .any_thread import AnyThread

#: The name of a run's work is this and the run's id.
RUN_PREFIX = "run:"

#: The states of a run that has not ended: it was planned, and no process has begun it; a process runs it.
WAITING, RUNNING = "waiting", "running"


class WorkLease(NamedTuple):
    """The right to do a piece of work.

    :param name: of the work.
    :param fence: grows with each taking of any work, in the whole deployment.
    """

    name: str
    fence: int


class WorkBatch(NamedTuple):
    """Events that are appended if their lease was not taken by another process since.

    :param events: one at least.
    :param end_state: the state with which the lease's run ends: the batch is only appended if the record's state is
        still ``RUNNING``, and the lease is released with it. None if it does not end.
    :param number: of the batch under its lease, 1 and more. If the last batch that was appended under the lease has the
        same number, this is the same batch: nothing is appended, and the answer is that batch's. So a caller can repeat
        a batch of which it is not known whether it was appended. 0 if it will not be repeated. An engine ignores it if
        an append that raised has certainly appended nothing.
    """

    lease: WorkLease
    events: Sequence[NewEvent]
    end_state: str | None = None
    number: int = 0


class KeptWork(NamedTuple):
    """What ``keep_work`` found.

    :param held: the leases that this process still holds.
    :param wanted: the names of those leases that any living process wants.
    :param free: the names, of those that the caller wants or watches, whose work no living process does.
    :param cancelled: the names of those leases whose run was cancelled.
    """

    held: list[WorkLease]
    wanted: set[str]
    free: set[str]
    cancelled: set[str] = frozenset()  # type: ignore[assignment]


class RunRecord(NamedTuple):
    """What is stored of a run.

    :param state: ``WAITING``, ``RUNNING``, or the state with which it ended.
    :param details: what ``begin_run`` or ``plan_run`` was called with.
    :param begin: the newest cursor when it was begun or planned: all its events come after it.
    :param is_cancelled: whether ``cancel_run`` was called before its end.
    :param is_held: whether a living process has its lease.
    :param fence: of its newest lease; 0 if it has none. ``WorkLease(RUN_PREFIX + id, fence)`` can end a run whose
        process is dead.
    """

    state: str
    details: str
    begin: Cursor
    is_cancelled: bool
    is_held: bool
    fence: int


class Work(AnyThread):
    """Leases of work, events that are appended under them, and records of runs.

    Every method may be called from any thread or greenlet of the process, and blocks its caller for ``WAIT_SECONDS`` at
    most. After ``Broker.close`` the methods that raise ``BrokerUnavailable`` raise ``BrokerClosed``; ``release_work``
    does nothing.
    """

    @abstractmethod
    def take_work(self, names: Collection[str]) -> list[WorkLease]:
        """Take the leases of these names that no other living process holds, each with a new fence.

        A name that this process holds already is also taken anew: its older lease is worth nothing from then on.

        :return: the leases that were taken.
        :raises BrokerUnavailable: it is not known which were taken. A repeated call does no harm.
        """

    @abstractmethod
    def keep_work(
        self, leases: Collection[WorkLease], wants: Collection[str] = (), watches: Collection[str] = ()
    ) -> KeptWork:
        """Renew leases of this process, and announce which work it wants done; called every second.

        :param leases: all leases of the process.
        :param wants: the names of work that this process wants to be done, by any process. They replace those of the
            last call, and count until ``WORK_SECONDS`` after it, or until the process is dead.
        :param watches: further names of which the caller asks whether a living process does them.
        :raises BrokerUnavailable: it is not known what was renewed.
        """

    @abstractmethod
    def release_work(self, leases: Collection[WorkLease]) -> None:
        """Give leases back. Never raises: what cannot be given back now, expires."""

    @abstractmethod
    def append_work(self, batches: Sequence[WorkBatch]) -> list[list[Cursor] | None]:
        """Append the events of many leases in one atomic step, in this order, with consecutive sequences.

        :param batches: at most one for each lease; none of events of the extension's own channels.
        :return: the cursors of each batch; None for a batch of which nothing was appended, since its lease was taken by
            another process, or its run has ended.
        :raises BrokerUnavailable: nothing was appended; or it is not known whether all was, as for ``append_events``.
        """

    # -- runs --------------------------------------------------------------

    @abstractmethod
    def plan_run(self, run_id: str, details: str) -> None:
        """Write the record of a run that another process will begin. The parameters are those of ``begin_run``.

        :raises BrokerUnavailable: it is not known whether it was written.
        """

    @abstractmethod
    def begin_run(self, run_id: str, details: str) -> WorkLease:
        """Write the record of a new run, and take its lease. Records that are no longer kept are deleted.

        :param run_id: of which there is no record, or one of a run that is ``WAITING``.
        :param details: any text; the record of a run that was planned keeps its own.
        :return: the lease; its name is ``RUN_PREFIX`` and the id.
        :raises BrokerUnavailable: it is not known whether it was written.
        """

    @abstractmethod
    def read_runs(self, run_ids: Collection[str]) -> dict[str, RunRecord]:
        """Return the records of these runs by id, without those of which there is none.

        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def find_lost_runs(self) -> list[str]:
        """Return the ids of the runs that are ``RUNNING`` and whose lease no living process has.

        After an outage of the store, leases may have expired whose processes live and are about to renew them.

        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def cancel_run(self, run_id: str) -> bool:
        """Note in the record of a run that it has to end; return whether it has not ended yet.

        :raises BrokerUnavailable: it is not known whether it was noted. A repeated call does no harm.
        """
