"""Measures clients that replay a long history: how fast they get it, and how that affects others on the worker.

There are four cases for each engine: one client with one channel; many clients with many channels; the same with large
events; and clients that request a long history and read nothing. Meanwhile pages are requested, other streams wait for
heartbeats, and another process publishes.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import Any, Iterator, NamedTuple

from flask_ssemux.brokers import open_broker

from . import event, process, redis_server
from .child import ROOT
from .contenders import STREAM, flask_ssemux
from .servers import Server
from .table import percentile, progress, table

ENGINES = ("memory", "sqlite", "redis")

#: SSEMUX_HEARTBEAT in seconds, and the number of other streams.
HEARTBEAT, OTHERS = 1.0, 10

#: Seconds between two pages, and between two events of the other process.
PAUSE = 0.01

#: Seconds for which the clients that do not read are observed.
DEAF_SECONDS = 15.0

HEAD = (
    "engine", "case", "seconds", "events a second", "slowest request ms", "longest silence s", "publish p50 ms",
    "p99 ms", "worker MB",
)  # fmt: skip


class Case(NamedTuple):
    """What is replayed.

    :param size: the bytes of each event.
    :param is_deaf: whether the clients read nothing.
    """

    name: str
    clients: int
    channels: int
    events: int
    size: int
    is_deaf: bool = False


CASES = (
    Case("1 client, 1 channel", 1, 1, 100_000, 50),
    Case("20 clients, 100 channels", 20, 100, 2500, 50),
    Case("20 clients, 100 channels, large events", 20, 100, 10, 200_000),
    Case("1000 clients that do not read", 1000, 1, 2000, 5000, True),
)


def measure_replay(engines: tuple[str, ...], cases: tuple[Case, ...] = CASES) -> str:
    """Return the table."""
    rows = []
    for engine in engines:
        for case in cases:
            progress("%s: %s" % (engine, case.name))
            rows.append((engine, case.name, *_measure_case(engine, case)))
    return table(HEAD, rows)


def _measure_case(engine: str, case: Case) -> list[str]:
    with ExitStack() as stack:
        broker = "memory:" if engine == "memory" else "sqlite:"
        if engine == "redis":
            broker = stack.enter_context(redis_server.RedisServer()).url
        options: dict[str, Any] = {"heartbeat": HEARTBEAT, "history_events": 10**6, "history_bytes": 2**33}
        server = stack.enter_context(Server(flask_ssemux(broker, **options), None))
        cursor = server.fill(case.channels, case.events, case.size)
        began = process.read_resident(server.pid)
        url = {"memory": "", "sqlite": "sqlite:///%s/ssemux.sqlite3" % server.folder, "redis": broker}[engine]
        watch = stack.enter_context(_watching(server, url))
        seconds = _replay(server.port, case, cursor)
        watch.end()
    events = case.clients * case.channels * case.events
    return [
        "-" if case.is_deaf else "%.1f" % seconds, "-" if case.is_deaf else "%d" % (events / seconds),
        "%.0f" % (1000 * max(watch.pages)), "%.2f" % watch.silence, *watch.published,
        "%.0f (%.0f before)" % (max(watch.memory) / 1024, began / 1024),
    ]  # fmt: skip


def _replay(port: int, case: Case, cursor: str) -> float:
    path = "/events?" + "&".join("channel=many:%d" % number for number in range(case.channels))
    kind = "deaf" if case.is_deaf else "read"
    command = [sys.executable, "-m", "benchmarks.reader", kind, str(port), str(case.clients), path, cursor]
    command.append(str(case.channels * case.events))
    reader = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout is not None
        said = reader.stdout.readline()
        if not said:
            raise RuntimeError("the clients were disconnected")
        if case.is_deaf:
            time.sleep(DEAF_SECONDS)
        return float(said)
    finally:
        reader.kill()
        reader.wait()


@contextmanager
def _watching(server: Server, url: str) -> Iterator[Watch]:
    watch = Watch(server, url)
    try:
        yield watch
    finally:
        watch.end()


class Watch:
    """Measures what others get from the worker meanwhile (pages, heartbeats, publishing), and the worker's memory."""

    def __init__(self, server: Server, url: str) -> None:
        self.pages: list[float] = []
        self.memory: list[int] = []
        self.silence = 0.0
        self.published: tuple[str, str] = ("-", "-")
        self._port, self._pid = server.port, server.pid
        self._is_over = False
        self._threads = [threading.Thread(target=work) for work in (self._request_pages, self._watch_heartbeats)]
        self._publisher = None
        if url:
            command = [sys.executable, "-m", "benchmarks.replay", url]
            self._publisher = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for thread in self._threads:
            thread.start()
        time.sleep(2 * HEARTBEAT)

    def end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        for thread in self._threads:
            thread.join()
        if self._publisher is not None:
            took = json.loads(self._publisher.communicate()[0])
            self.published = "%.2f" % (1000 * percentile(took, 0.5)), "%.2f" % (1000 * percentile(took, 0.99))

    def _request_pages(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        while not self._is_over:
            began = time.monotonic()
            connection.request("GET", "/ready")
            connection.getresponse().read()
            self.pages.append(time.monotonic() - began)
            self.memory.append(process.read_resident(self._pid))
            time.sleep(PAUSE)
        connection.close()

    def _watch_heartbeats(self) -> None:
        """Measure the longest silence of all the other streams."""
        streams = [socket.create_connection(("127.0.0.1", self._port), timeout=0.01) for _ in range(OTHERS)]
        for stream in streams:
            stream.sendall(b"GET %s HTTP/1.1\r\nHost: bench\r\n\r\n" % STREAM.encode("ascii"))
        heard = [time.monotonic()] * OTHERS
        while not self._is_over:
            for number, stream in enumerate(streams):
                try:
                    came = stream.recv(65536)
                except socket.timeout:
                    came = b""
                now = time.monotonic()
                self.silence = max(self.silence, now - heard[number])
                heard[number] = now if came else heard[number]
        for stream in streams:
            stream.close()


def _publish_until_end(url: str) -> None:
    """Publish until stdin ends, and print how long each publish took."""
    broker, took, ended = open_broker(url), [], threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    while not ended.wait(PAUSE):
        began = time.monotonic()
        broker.history.append_event(event.CHANNEL, b"data: x\n\n")
        took.append(time.monotonic() - began)
    print(json.dumps(took[1:]))


if __name__ == "__main__":
    _publish_until_end(sys.argv[1])
