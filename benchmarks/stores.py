"""Servers of stores: their CPU time and memory, and what cuts the connections that receive events."""

from __future__ import annotations

from typing import Any, Callable

from . import process, redis_server
from .postgres_server import PostgresServer
from .postgres_server import is_installed as is_postgres_installed

#: Connections of a process to PostgreSQL, and those of everything else.
EACH, OTHERS = 3, 50


class RedisStore:
    """A Redis server. It uses one core, whatever it has."""

    name = "redis"

    #: Whether all workers hear of every event, also of those that no client of theirs reads.
    is_heard_by_all = False

    def __init__(self, core: int | None, processes: int) -> None:
        self._server = redis_server.RedisServer(core)
        self.url = self._server.url
        self._redis = self._get_driver().Redis.from_url(self.url)

    def __enter__(self) -> RedisStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def cpu(self) -> float:
        """Return the seconds of CPU time that it has used."""
        return process.read_cpu(self._server.pid)

    def memory(self) -> float:
        """Return the MB that it has in use."""
        return float(self._redis.info("memory")["used_memory"]) / 1e6

    def kept(self) -> float:
        """Return the MB that its events take: they are in its memory."""
        return self.memory()

    def cut(self) -> int:
        """Close all connections that receive events; return how many."""
        return int(self._redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))

    @staticmethod
    def _get_driver() -> Any:
        import redis

        return redis


class PostgresStore:
    """A PostgreSQL server, on one core here. It could use more."""

    name = "postgres"
    is_heard_by_all = True

    def __init__(self, core: int | None, processes: int) -> None:
        self._server = PostgresServer(core, processes * EACH + OTHERS)
        self.url = self._server.url + "?synchronous_commit=off"

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def cpu(self) -> float:
        """Return the seconds of CPU time that its processes have used which are alive."""
        return sum(_read_alive(process.read_cpu, pid) for pid in self._server.list_processes())

    def memory(self) -> float:
        """Return the MB of all its processes, shared memory once."""
        return sum(_read_alive(process.read_memory, pid) for pid in self._server.list_processes()) / 1e3

    def kept(self) -> float:
        """Return the MB that its events take: they are on its disk."""
        return float(self._server.ask("SELECT pg_total_relation_size('ssemux.events')")[0][0]) / 1e6

    def cut(self) -> int:
        """Close all connections that receive events; return how many."""
        return int(self._server.ask(_CUT)[0][0])


def _read_alive(read: Callable[[int], float], pid: int) -> float:
    """Return what a function reads of a process; 0 if it has ended."""
    try:
        return read(pid)
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return 0.0


#: Ends the connections that listen. Their last statement is one of these two.
_CUT = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND (query LIKE 'LISTEN %' OR query LIKE '%place_events(%')
"""


#: The engines that several machines can share, whether each is installed here, and its server.
STORES: dict[str, tuple[Callable[[], bool], Callable[[int | None, int], Any]]] = {
    "redis": (redis_server.is_installed, RedisStore),
    "postgres": (is_postgres_installed, PostgresStore),
}
