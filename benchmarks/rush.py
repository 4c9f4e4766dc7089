"""Measures thousands of streams that open at the same moment, each of a user of its own, on each broker.

Meanwhile events are appended every few milliseconds: by requests to the workers and, if other processes reach the
store, by a ``Publisher`` in this process. It prints whether all streams opened, and how long the longest append took,
which contains all waiting for the store's locks. The workers share one core.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from contextlib import ExitStack, suppress

from flask_ssemux import Publisher

from . import event, process
from .contenders import STREAM, Contender, list_brokers
from .returning import ReturningLoad, ReturningReport
from .servers import Server
from .table import percentile, progress, table

#: Workers, if the store is one that processes share; and requests that append.
WORKERS = 2

#: Seconds in which streams must have opened; seconds of appending before the first one.
PATIENCE, BEFORE = 120.0, 1.0


def measure_rush(streams: int, brokers: list[str]) -> str:
    """Return the table.

    :param streams: how many open at the same moment.
    """
    ours, theirs = process.choose_cores()
    head = ("%d streams at once" % streams, "open", "seconds", "errors", "refused", "asked to come back",
            "appends in a worker: p99, longest ms", "in another process")  # fmt: skip
    with ExitStack() as stack:
        rows = []
        for name, contender in list_brokers(stack, brokers, theirs):
            progress(name)
            rows.append([name, *_measure_broker(contender, streams, ours, theirs)])
    return table(head, rows)


def _measure_broker(contender: Contender, streams: int, ours: int, theirs: int) -> list[str]:
    is_shared = contender.environ["SSEMUX_BROKER"] != "memory:"
    with ExitStack() as stack:
        server = stack.enter_context(Server(contender, ours, workers=WORKERS if is_shared else 1))
        inside = [stack.enter_context(_WorkersAppends(server.port)) for _ in range(WORKERS)]
        outside = [stack.enter_context(_PublishersAppends(server))] if is_shared else []
        time.sleep(BEFORE)
        began = time.monotonic()
        load = stack.enter_context(ReturningLoad(server.port, STREAM, theirs, streams, opening=streams))
        found = _await_all(load, streams, began + PATIENCE)
        took = time.monotonic() - began
    return [*_describe_load(found, streams, took), _describe_appends(inside), _describe_appends(outside)]


def _await_all(load: ReturningLoad, streams: int, deadline: float) -> ReturningReport:
    while True:
        time.sleep(0.5)
        found = load.report()
        if found.is_open == streams or time.monotonic() > deadline:
            return found


def _describe_load(found: ReturningReport, streams: int, took: float) -> list[str]:
    is_open = "all" if found.is_open == streams else "%d of %d" % (found.is_open, streams)
    return [is_open, "%.1f" % took, *map(str, (found.errors, found.refused, found.turned_away))]


def _describe_appends(appends: list[_Appends]) -> str:
    took = [one for some in appends for one in some.took]
    return "%.1f, %.1f of %d" % (percentile(took, 0.99), max(took), len(took)) if took else "-"


class _Appends(threading.Thread):
    """Appends until the ``with`` is left, and notes how many milliseconds each append took."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.took: list[float] = []
        self._is_over = threading.Event()

    def __enter__(self) -> _Appends:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join()


class _WorkersAppends(_Appends):
    """A request that appends in a worker; see ``app.py``."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        connection.request("GET", "/appends")
        with suppress(OSError, http.client.HTTPException), connection.getresponse() as answer:
            while not self._is_over.is_set():
                self.took.append(float(answer.readline()))
        connection.close()


class _PublishersAppends(_Appends):
    """A ``Publisher`` of this process."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        broker = server.contender.environ["SSEMUX_BROKER"]
        self._publisher = Publisher(
            "sqlite:///" + os.path.join(server.folder, "ssemux.sqlite3") if broker == "sqlite:" else broker
        )

    def run(self) -> None:
        while not self._is_over.wait(event.APPEND_PAUSE):
            began = time.monotonic()
            self._publisher.publish("many:1", event.make_data())
            self.took.append((time.monotonic() - began) * 1e3)
        self._publisher.close()
