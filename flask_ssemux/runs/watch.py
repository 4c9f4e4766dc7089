"""Watches the runs that other processes execute: those with readers here, and all if this process can resume runs.

It asks as a member of the keeper, once a second. What becomes of a run without a process is decided in ``lost.py``.
"""

from __future__ import annotations

from typing import Collection

from ..brokers import RUN_PREFIX, KeptWork, WorkLease
from ..errors import BrokerClosed, BrokerUnavailable
from ..options import log
from ..util import forks
from ..util.background import run_in_background
from .lost import LostRuns
from .parts import WorkParts
from .tasks import RunTasks


class RunWatch:
    """A member of the keeper.

    :param parts: what feeds and runs share.
    :param tasks: the runs that this process executes.
    """

    def __init__(self, parts: WorkParts, tasks: RunTasks, lost: LostRuns) -> None:
        self._wake_keeper = parts.keeper.wake
        self._get_broker = parts.get_broker
        self._tasks = tasks
        self._lost = lost
        self.disown()
        parts.keeper.add_member(self)
        forks.register_owner(self)

    def disown(self) -> None:
        """In a forked child: the readers are the parent's."""
        #: How many streams read each run in this process.
        self._readers: dict[str, int] = {}
        #: Whether this process looks for runs that it can resume, although it has none itself.
        self._is_looking = False

    def add_reader(self, run_id: str) -> None:
        """A stream reads this run, and must hear of its end. ``remove_reader`` follows."""
        self._readers[run_id] = self._readers.get(run_id, 0) + 1
        if self._tasks.find_task(run_id) is None:
            self._wake_keeper()

    def remove_reader(self, run_id: str) -> None:
        """The stream has ended."""
        left = self._readers.get(run_id, 0) - 1
        if left > 0:
            self._readers[run_id] = left
        else:
            self._readers.pop(run_id, None)
            self._lost.forget(run_id)

    def look_for_lost(self) -> None:
        """Look for runs that this process can resume from now on, if it has resume functions. Further calls do
        nothing."""
        if self._lost.can_resume and not self._is_looking:
            self._is_looking = True
            self._wake_keeper()

    def look_once(self) -> None:
        """This worker begins, perhaps in place of one that was killed: look, in the background, for runs that have no
        process any more. A function that only ``start_run`` named is not known here yet."""
        run_in_background("ssemux-lost", self._suspect_lost)

    def _suspect_lost(self) -> None:
        try:
            found = self._get_broker().work.find_lost_runs()
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("it is not known whether there are lost runs: %s", error)
            return
        for run_id in found:
            self._lost.suspect(run_id)

    # -- the keeper's member -----------------------------------------------------

    @property
    def is_needed(self) -> bool:
        return bool(self._readers or self._lost.suspects or self._is_looking)

    def list_leases(self) -> Collection[WorkLease]:
        return ()

    def list_wants(self) -> Collection[str]:
        return ()

    def list_watches(self) -> Collection[str]:
        held = {lease.name for lease in self._tasks.list_leases()}
        watched = [RUN_PREFIX + run_id for run_id in [*self._readers, *self._lost.suspects]]
        return [name for name in watched if name not in held]

    def note_kept(self, kept: KeptWork, lost: Collection[WorkLease]) -> None:
        watched = set(self.list_watches())
        self._lost.look([name[len(RUN_PREFIX) :] for name in kept.free if name in watched])

    def note_unreachable(self, seconds: float) -> None:
        """The next look asks again."""
