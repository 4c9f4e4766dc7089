"""What goes wrong: workers are killed, masters deploy anew, the store is killed and loses its data.

At the end everything is healed, because the judge's verdict needs that.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Callable, Sequence

from tests.chaos.diary import Actor, Diary
from tests.harness.servers import Gunicorn

#: Seconds until all workers of a gunicorn are back.
HEAL_SECONDS = 60.0

#: The maximum that a killed store stays away, in seconds.
AWAY = 3.0


def kill_worker(server: Gunicorn, chance: Callable[[Sequence[int]], int], diary: Diary) -> None:
    """Send SIGKILL to one worker, if there is one."""
    pids = server.worker_pids()
    if not pids:
        diary.note(f"gunicorn {server.port} has no worker to kill")
        return
    pid = chance(pids)
    diary.note(f"kill -9 of worker {pid}, one of {pids}, of gunicorn {server.port}")
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        diary.note(f"worker {pid} had ended by itself")


class Disasters(Actor):
    """Random disasters, one after another.

    :param store: one of harness/own_stores.py, which is killed now and then; None: none is.
    :param wipe_at: when the store also loses its data, once; None: never.
    """

    def __init__(
        self,
        diary: Diary,
        servers: Sequence[Gunicorn],
        store: Any = None,
        wipe_at: float | None = None,
    ) -> None:
        super().__init__("disasters", diary)
        self._servers, self._store, self._wipe_at = servers, store, wipe_at
        self._workers = {server: server.workers or 1 for server in servers}

    def play(self) -> None:
        kinds = [self._kill_worker] * 4 + [self._deploy]
        kinds += [self._kill_store] * 2 if self._store else []
        while self.wait(self.chance.uniform(0.5, 3)):
            if self._wipe_at is not None and self.diary.now() >= self._wipe_at:
                self._wipe_at = None
                self._kill_store(wipe=True)
            else:
                self.chance.choice(kinds)()

    def heal(self) -> None:
        """Repair everything; call it only after the actor has stopped."""
        assert self._wipe_at is None, "the run was too short: the store was not wiped"
        for server, workers in self._workers.items():
            server.wait_workers(workers, HEAL_SECONDS)
        self.diary.note("all is well again")

    def _kill_worker(self) -> None:
        kill_worker(self.chance.choice(self._servers), self.chance.choice, self.diary)

    def _deploy(self) -> None:
        server = self.chance.choice(self._servers)
        self.diary.note(f"HUP to gunicorn {server.port}, whose workers are {server.worker_pids()}")
        server.signal(signal.SIGHUP)

    def _kill_store(self, wipe: bool = False) -> None:
        assert self._store is not None
        away = self.chance.uniform(0, AWAY)
        self.diary.note(f"kill -9 of {self._store.name} for {away:.1f} s{', and its data is lost' if wipe else ''}")
        self._store.kill()
        if wipe:
            self._store.wipe()
        self.wait(away)
        self._store.restart()
        self.diary.note(f"{self._store.name} is back")
