"""Of each engine that processes can share, a store that one test has for itself and may break."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.harness.postgres import PostgresServer
from tests.harness.redis import RedisServer
from tests.harness.redis_cluster import Cluster, ClusterNode


class OwnFile:
    """The file of the SQLite engine: other processes cannot write while it is away."""

    name = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ssemux.sqlite3"
        self._lock: sqlite3.Connection | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def __enter__(self) -> OwnFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.resume()

    def pause(self) -> None:
        self._lock = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
        self._lock.execute("BEGIN EXCLUSIVE")

    def resume(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    kill, restart = pause, resume


class OwnCluster(Cluster):
    """A Redis Cluster without replicas: what happens to it happens to the node that has the keys of the default
    prefix. Failovers are tested in tests/brokers/test_redis_cluster.py.
    """

    name = "cluster"

    def __init__(self) -> None:
        super().__init__(replicas=0, fsync="always")

    def __enter__(self) -> OwnCluster:
        super().__enter__()
        self.owner: ClusterNode = self.find_owner("ssemux")
        return self

    def kill(self) -> None:
        self.owner.kill()

    def restart(self) -> None:
        self.owner.restart()
        self.wait_until_agreed()

    def pause(self) -> None:
        self.owner.pause()

    def resume(self) -> None:
        self.owner.resume()

    def wipe(self) -> None:
        """Delete all that the killed node has kept on disk, but for its place in the cluster."""
        assert not self.owner.running
        shutil.rmtree(self.owner.folder / "appendonlydir", ignore_errors=True)
        with suppress(FileNotFoundError):  # Redis 6
            (self.owner.folder / "appendonly.aof").unlink()

    def empty(self) -> None:
        self.owner.empty()

    def count_connections(self) -> int:
        return self.owner.count_connections()


def make_own_store(engine: str, folder: Path) -> Any:
    """Return a store that nothing else uses, to be started with ``with``.

    What it has accepted is on disk: it loses nothing when it is killed. All have ``url``, ``kill()``, ``restart()``,
    ``pause()`` and ``resume()``; those that are servers also ``wipe()`` for the time when they do not run, ``empty()``
    for the time when they do, and ``count_connections()``.
    """
    if engine == "sqlite":
        return OwnFile(folder)
    return {"redis": lambda: RedisServer(fsync="always"), "postgres": PostgresServer, "cluster": OwnCluster}[engine]()
