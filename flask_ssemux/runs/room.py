"""How many runs there may be: in this process, and of each owner in all processes. Nothing about what a run does.

The runs of an owner are counted as the slots of a user are (``brokers/contract/user_slots.py``), under a key of their
own: what a process has taken is free again when the process dies.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from ..brokers import LEASE_SECONDS, Broker, SlotAnswer
from ..errors import TooManyRuns
from ..util import forks
from ..util.made_when_used import MadeWhenUsed, forget

#: What the key of an owner's slots begins with.
KEY = "runs of "

#: Seconds that other processes have to write how many slots they took; after that they count as taken.
WRITE_TIMEOUT = 2.0


class RunRoom:
    """
    :param get_broker: returns the broker of this process.
    :param max_runs: how many runs this process may have.
    :param max_runs_per_owner: how many runs an owner may have, in all processes.
    :param ask_processes: has all processes write how many slots under a key they took.
    """

    _lock = MadeWhenUsed(lambda room: threading.Lock())

    def __init__(
        self,
        get_broker: Callable[[], Broker],
        max_runs: int,
        max_runs_per_owner: int,
        ask_processes: Callable[[Broker, str], object],
    ) -> None:
        self._get_broker = get_broker
        self._max_runs = max_runs
        self._max_runs_per_owner = max_runs_per_owner
        self._ask_processes = ask_processes
        self.begin_process()

    def begin_process(self) -> None:
        """No run is in this process yet."""
        forget(self, "_lock")
        self.count = 0
        self._owned = 0
        self._renew_at = 0.0

    def take_room(self, owner: str | None, must: bool = False) -> None:
        """Count one more run.

        :param must: count it even if there is no room.
        :raises TooManyRuns: there is no room for it.
        :raises BrokerUnavailable: the owner's runs cannot be counted.
        """
        with self._lock:
            if self.count >= self._max_runs and not must:
                raise TooManyRuns(
                    "this worker has %d runs, as many as SSEMUX_MAX_RUNS allows: answer 429, or raise the option"
                    % self.count
                )
            self.count += 1
        try:
            self._take_slot(owner, must)
        except BaseException:
            with self._lock:
                self.count -= 1
            raise

    def release_room(self, owner: str | None) -> None:
        """A run has ended, or was not started."""
        with self._lock:
            self.count -= 1
            self._owned -= owner is not None
        if owner is not None:
            self._get_broker().leases.release_user_slot(KEY + owner)

    def renew_slots(self) -> None:
        """Renew the leases of this process, if that is due: a process without streams has no other that does so."""
        now = time.monotonic()
        if self._owned and now >= self._renew_at:
            self._renew_at = now + LEASE_SECONDS / 3
            self._get_broker().leases.renew_leases()

    def _take_slot(self, owner: str | None, must: bool) -> None:
        if owner is None:
            return
        limit = 1_000_000 if must else self._max_runs_per_owner
        if not self._ask_for_slot(KEY + owner, limit):
            raise TooManyRuns(
                "the user %r has %d runs, as many as SSEMUX_MAX_RUNS_PER_OWNER allows: answer 429, or cancel one"
                % (owner, limit)
            )
        with self._lock:
            self._owned += 1

    def _ask_for_slot(self, key: str, limit: int) -> bool:
        broker, deadline, pause = self._get_broker(), time.monotonic() + WRITE_TIMEOUT, 0.005
        answer = broker.leases.ask_for_user_slot(key, limit)
        if answer is SlotAnswer.SHARED:
            self._ask_processes(broker, key)
        while answer is SlotAnswer.SHARED and time.monotonic() < deadline:
            forks.sleep(pause)
            pause = min(2 * pause, 0.1)
            answer = broker.leases.ask_for_user_slot(key, limit)
        return answer is SlotAnswer.TAKEN
