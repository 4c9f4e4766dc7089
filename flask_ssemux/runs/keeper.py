"""Renews all work leases of one application in this process, and announces which work it wants: one call each second.

A thread (or greenlet) does it while a member needs it, so a process without feeds and runs has neither the thread nor
the calls. What a member does with the answer is up to the member. No generators, no events.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Collection, Protocol

from ..brokers import WORK_INTERVAL, Broker, KeptWork, WorkLease
from ..errors import BrokerClosed, BrokerUnavailable
from ..options import log
from ..util import forks
from ..util.made_when_used import MadeWhenUsed, forget
from ..util.supervise import Loop, attempt


class WorkMember(Protocol):
    """What has leases, or wants work to be done: the feeds of a process, and its runs. No method waits for anything,
    but for ``note_kept``."""

    @property
    def is_needed(self) -> bool:
        """Whether the member has leases, or wants or watches work."""

    def list_leases(self) -> Collection[WorkLease]:
        """Return the leases that must be renewed."""

    def list_wants(self) -> Collection[str]:
        """Return the names of the work that this process wants to be done."""

    def list_watches(self) -> Collection[str]:
        """Return further names of work: the answer says which of it no process does."""

    def note_kept(self, kept: KeptWork, lost: Collection[WorkLease]) -> None:
        """Handle the broker's answer, which is about the work of all members.

        :param lost: the leases that were to be renewed and are no longer held.
        """

    def note_unreachable(self, seconds: float) -> None:
        """Nothing was renewed since so many seconds: the store does not answer."""


class WorkKeeper:
    """
    :param get_broker: returns the broker of this process.
    """

    _changed = MadeWhenUsed(lambda keeper: threading.Condition())
    _loop = MadeWhenUsed(lambda keeper: Loop("ssemux-keeper", keeper._changed, keeper._is_needed, keeper._run_turn))

    def __init__(self, get_broker: Callable[[], Broker]) -> None:
        self._get_broker = get_broker
        self._members: list[WorkMember] = []
        self._begin_process()
        forks.register_owner(self)

    def _begin_process(self) -> None:
        forget(self, "_changed", "_loop")
        #: When (monotonic time) the next turn is due, and when the store answered last.
        self._next_turn = 0.0
        self._answered_at: float | None = None
        #: Whether wants are announced that no member has any more.
        self._has_wants = False
        self._is_closed = False

    def add_member(self, member: WorkMember) -> None:
        self._members.append(member)

    def wake(self) -> bool:
        """A member has a new lease, or wants something new: renew and announce now, and then each second.

        :return: whether this will be done; if the system has no thread left for it, the next call tries again.
        """
        with self._changed:
            self._next_turn = 0.0
            self._changed.notify_all()
            return self._is_closed or attempt("leases of work are not renewed", self._loop.start)

    def disown(self) -> None:
        """In a forked child: the leases are the parent's."""
        self._begin_process()

    # ----------------------------------------------------------------------

    def _is_needed(self) -> bool:
        """Wait until the next turn. With the lock held."""
        while not self._is_closed and (self._has_wants or any(member.is_needed for member in self._members)):
            left = self._next_turn - time.monotonic()
            if left <= 0:
                return True
            self._changed.wait(left)
        self._answered_at = None
        return False

    def _run_turn(self) -> None:
        now = time.monotonic()
        self._next_turn = now + WORK_INTERVAL
        leases = [lease for member in self._members for lease in member.list_leases()]
        wants = {name for member in self._members for name in member.list_wants()}
        watches = {name for member in self._members for name in member.list_watches()}
        try:
            kept = self._get_broker().work.keep_work(leases, wants, watches)
        except BrokerClosed:
            self._is_closed = True
        except BrokerUnavailable as error:
            log.debug("leases of work were not renewed: %s", error)
            self._note_unreachable(now)
        else:
            self._answered_at, self._has_wants = now, bool(wants)
            lost = set(leases).difference(kept.held)
            for member in self._members:
                attempt("what a process works on could not be checked", member.note_kept, kept, lost)

    def _note_unreachable(self, now: float) -> None:
        if self._answered_at is None:
            self._answered_at = now
        seconds = time.monotonic() - self._answered_at
        for member in self._members:
            attempt("work could not be stopped", member.note_unreachable, seconds)
