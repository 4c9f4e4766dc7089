"""A contender that runs: started, asked, told to publish, and counted.

Who there is stands in ``contenders.py``. What is measured is not known here.
"""

from __future__ import annotations

import http.client
import json
from typing import Any

from . import event, process
from .child import Child, free_port
from .contenders import Contender
from .redis_server import RedisServer

_ERRORS = (OSError, http.client.HTTPException)


class Server:
    """A contender, pinned to a core (None: on any). Leaving the ``with`` kills all of it.

    Its Redis and its publisher, if it has them, have the other core and are not counted.

    :raises RuntimeError: it did not start; with the end of what it said.
    """

    def __init__(self, contender: Contender, core: int | None, workers: int = 1) -> None:
        self.contender = contender
        self.port = self._asked = free_port()
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

    def publish(self, events: int, rate: float, size: int = event.SIZE) -> int:
        """Begin to publish; the id of the process that does."""
        return int(self._ask("/publish?events=%d&rate=%g&size=%d" % (events, rate, size))["pid"])

    def fill(self, channels: int, events: int, size: int) -> str:
        """Publish so many events to each of so many channels, before anybody listens; the cursor before them."""
        path = "/fill?channels=%d&events=%d&size=%d" % (channels, events, size)
        return str(self._ask(path, 300)["cursor"])

    @property
    def folder(self) -> str:
        """Its scratch folder."""
        return self._child.folder

    def streams(self) -> int:
        """How many there are, of a contender whose clients cannot know."""
        return self._redis.subscribers(event.CHANNEL)

    def cpu(self) -> float:
        """Seconds of CPU that all its processes have used."""
        return sum(process.cpu(pid) for pid in process.family(self._child.pid))

    def modes(self) -> tuple[float, float]:
        """Seconds of them in user and in system mode."""
        found = [process.modes(pid) for pid in process.family(self._child.pid)]
        return sum(user for user, _ in found), sum(system for _, system in found)

    def memory(self) -> int:
        """KB of all its processes."""
        return sum(process.memory(pid) for pid in process.family(self._child.pid))

    def close(self) -> None:
        while self._all:
            self._all.pop().close()

    def _start(self, core: int | None, workers: int) -> None:
        contender, environ, other = self.contender, dict(self.contender.environ), process.cores()[-1]
        if contender.redis:
            self._redis = RedisServer(other)
            self._all.append(self._redis)
            environ["BENCH_REDIS"] = self._redis.url
        command = [part.format(port=self.port, workers=workers) for part in contender.command]
        self._child = last = Child(contender.name, command, environ, core)
        self._all.append(self._child)
        if contender.publisher:
            self._asked = free_port()
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
