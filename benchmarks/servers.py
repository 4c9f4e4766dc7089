"""Runs one of the servers of ``contenders.py``: starts it, makes it publish, and reads its CPU time and memory.

The callers decide what is measured.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from . import event, process
from .child import Child, find_free_port
from .contenders import Contender
from .redis_server import RedisServer

_ERRORS = (OSError, http.client.HTTPException)


class Server:
    """A server that is pinned to a core (None: to none). Leaving the ``with`` kills all its processes.

    If it has a Redis server and a publisher, they run on the other core and are not counted.

    :param port: where it listens; None: at a free port.
    :raises RuntimeError: the server did not start; the message has the end of its output.
    """

    def __init__(self, contender: Contender, core: int | None, workers: int = 1, port: int | None = None) -> None:
        self.contender = contender
        self.port = self._asked = port or find_free_port()
        self.pid = 0
        self._all: list[Any] = []
        try:
            self._start(core, workers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, events: int, rate: float, size: int = event.SIZE, users: int = 0) -> int:
        """Start to publish, and return the id of the process that publishes.

        :param rate: events a second; 0 means all at once.
        :param users: publish each event to one of so many users, in turn; 0 means to all streams.
        """
        query = "events=%d&rate=%g&size=%d&users=%d" % (events, rate, size, users)
        return int(self._ask("/publish?" + query)["pid"])

    def fill(self, channels: int, events: int, size: int) -> str:
        """Publish events to many channels before clients connect, and return the cursor before the first event."""
        path = "/fill?channels=%d&events=%d&size=%d" % (channels, events, size)
        return str(self._ask(path, 300)["cursor"])

    @property
    def folder(self) -> str:
        """The server's temporary folder."""
        return self._child.folder

    @property
    def master(self) -> int:
        """The id of the process that was started: gunicorn's master."""
        return self._child.pid

    def streams(self) -> int:
        """Return the number of open streams, for a server whose clients cannot know."""
        return self._redis.count_subscribers(event.CHANNEL)

    def cpu(self) -> float:
        """Return the seconds of CPU time that all its processes have used."""
        return sum(process.read_cpu(pid) for pid in process.list_session(self._child.pid))

    def modes(self) -> tuple[float, float]:
        """Return the seconds of CPU time in user and in system mode."""
        found = [process.read_modes(pid) for pid in process.list_session(self._child.pid)]
        return sum(user for user, _ in found), sum(system for _, system in found)

    def memory(self) -> int:
        """Return the KB of all its processes."""
        return sum(process.read_memory(pid) for pid in process.list_session(self._child.pid))

    def close(self) -> None:
        while self._all:
            self._all.pop().close()

    def _start(self, core: int | None, workers: int) -> None:
        contender, environ, other = self.contender, dict(self.contender.environ), process.choose_cores()[-1]
        if contender.redis:
            self._redis = RedisServer(other)
            self._all.append(self._redis)
            environ["BENCH_REDIS"] = self._redis.url
        command = [part.format(port=self.port, workers=workers) for part in contender.command]
        self._child = last = Child(contender.name, command, environ, core)
        self._all.append(self._child)
        if contender.publisher:
            self._asked = find_free_port()
            command = [part.format(port=self._asked, server=self.port) for part in contender.publisher]
            last = Child(contender.name + "'s publisher", command, core=other)
            self._all.append(last)
        last.wait(self._ready, _ERRORS)

    def _ready(self) -> None:
        self.pid = int(self._ask("/ready")["pid"])

    def _ask(self, path: str, timeout: float = 5) -> Any:
        asked = http.client.HTTPConnection("127.0.0.1", self._asked, timeout=timeout)
        try:
            asked.request("GET", path)
            return json.loads(asked.getresponse().read())
        finally:
            asked.close()
