"""Measures a deploy: gunicorn is told to reload (HUP) while thousands of streams are open, and all of them come back.

Two workers share one core. A page is requested 20 times a second, an event is published twice a second to all streams,
over a SQLite file. It prints when the streams were back, how long pages took, and whether an event was lost or doubled.
A rolling restart is two deploys, of two servers with one worker each, which share their port and a Redis server.
"""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from contextlib import ExitStack
from typing import NamedTuple

from flask_ssemux import Publisher

from . import event, process
from .child import find_free_port
from .contenders import STREAM, flask_ssemux
from .redis_server import RedisServer
from .returning import ReturningLoad, ReturningReport
from .servers import Server
from .table import percentile, progress, table

WORKERS = 2

#: Pages and events a second.
PAGES, EVENTS = 20.0, 2.0

#: Seconds of measuring before the deploy.
BEFORE = 5.0

#: Seconds after which a page counts as unanswered.
PATIENCE = 60.0


class Disaster(NamedTuple):
    """What is done to the server.

    :param name: for the table.
    :param signal: sent to gunicorn's master, or to its first worker.
    :param servers: how many there are. The workers are divided among them, and it is done to one after the other.
    """

    name: str
    signal: signal.Signals
    is_for_worker: bool = False
    servers: int = 1


DISASTERS = {
    "deploy": Disaster("a deploy (HUP)", signal.SIGHUP),
    "crash": Disaster("a worker is killed", signal.SIGKILL, is_for_worker=True),
    "rolling": Disaster("a rolling restart of two servers (HUP)", signal.SIGHUP, servers=2),
}


def measure_storm(streams: int, seconds: float, what: str) -> str:
    """Return the table.

    :param streams: how many are open.
    :param seconds: the maximum for which the streams' return is awaited.
    """
    ours, theirs = process.choose_cores()
    disaster = DISASTERS[what]
    with ExitStack() as stack:
        servers = _start_servers(stack, disaster, ours, theirs)
        load = stack.enter_context(ReturningLoad(servers[0].port, STREAM, theirs, streams))
        _await(load, streams, 120)
        os.sched_setaffinity(0, {theirs})
        feed, pages = _Feed(servers[0]), _Pages(servers[0].port)
        load.start()
        feed.start()
        progress("%d streams are open; pages before" % streams)
        pages.run(BEFORE)
        before, pages.took = pages.took, []
        began = [_cause(disaster, server, load, pages, streams, seconds) for server in servers]
        pages.join()
        published = feed.stop()
        time.sleep(1.0)
        found = load.report()
    return _make_table(disaster, streams, began, before, pages, published, found)


def _start_servers(stack: ExitStack, disaster: Disaster, ours: int, theirs: int) -> list[Server]:
    """Start them, on one core. Several ones share their port, among whose sockets the kernel divides the clients."""
    if disaster.servers == 1:
        return [stack.enter_context(Server(flask_ssemux("sqlite:", heartbeat=20), ours, workers=WORKERS))]
    contender = flask_ssemux(stack.enter_context(RedisServer(theirs)).url, heartbeat=20)
    contender = contender._replace(command=(*contender.command, "--reuse-port"))
    port, workers = find_free_port(), WORKERS // disaster.servers
    return [stack.enter_context(Server(contender, ours, workers, port)) for _ in range(disaster.servers)]


def _cause(
    disaster: Disaster, server: Server, load: ReturningLoad, pages: _Pages, streams: int, seconds: float
) -> float:
    """Do it to one server, request pages until every stream that was cut off is open again, and return when it was."""
    progress(disaster.name)
    returned, began = len(load.report().returned), time.monotonic()
    os.kill(_find_target(server, disaster), disaster.signal)
    while True:
        pages.run(2.0)
        found = load.report()
        if (found.is_open == streams and len(found.returned) > returned) or time.monotonic() > began + seconds:
            return began


def _await(load: ReturningLoad, streams: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while load.report().is_open < streams:
        if time.monotonic() > deadline:
            raise RuntimeError("%d of %d streams opened in %g s" % (load.report().is_open, streams, seconds))
        time.sleep(0.5)


def _find_target(server: Server, disaster: Disaster) -> int:
    if not disaster.is_for_worker:
        return server.master
    return next(pid for pid in process.list_session(server.master) if pid != server.master)


class _Feed(threading.Thread):
    """Publishes numbered events from this process."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        broker = server.contender.environ["SSEMUX_BROKER"]
        path = "sqlite:///" + os.path.join(server.folder, "ssemux.sqlite3")
        self._publisher = Publisher(path if broker == "sqlite:" else broker)
        self._is_over = threading.Event()
        self._count = 0

    def run(self) -> None:
        while not self._is_over.wait(1 / EVENTS):
            self._publisher.publish(event.CHANNEL, event.make_data(), event=event.NAME)
            self._count += 1

    def stop(self) -> int:
        """Return how many events were published."""
        self._is_over.set()
        self.join()
        self._publisher.close()
        return self._count


class _Pages:
    """Requests a page at a steady rate, each over a connection of its own. It does not wait for the one before."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._threads: list[threading.Thread] = []
        self.took: list[float] = []
        self.failed: list[str] = []

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds * PAGES)):
            thread = threading.Thread(target=self._request_page, daemon=True)
            thread.start()
            self._threads.append(thread)
            time.sleep(1 / PAGES)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)

    def _request_page(self) -> None:
        began = time.monotonic()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
            connection.request("GET", "/ready")
            connection.getresponse().read()
            connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append("%s after %.1f s" % (type(error).__name__, time.monotonic() - began))
        else:
            self.took.append(time.monotonic() - began)


def _make_table(
    disaster: Disaster, streams: int, began: list[float], before: list[float], pages: _Pages, published: int,
    found: ReturningReport,
) -> str:  # fmt: skip
    """
    :param began: when it was done to each server; what returned then belongs to the last one before.
    """
    back = sorted(moment - max(it for it in began if it <= moment) for moment in found.returned) or [0.0]
    missing = sum(max(0, published - count) for count in found.events)
    rows = [
        ("streams that are open again", "%d of %d" % (found.is_open, streams)),
        ("streams that were cut off", "%d" % len(found.returned)),
        ("they are back after, p50, p99, last", "%.1f, %.1f, %.1f s" % (
            percentile(back, 0.5), percentile(back, 0.99), back[-1])),
        ("requests for each return", "%.2f" % (found.returns / max(1, len(found.returned)))),
        ("connections refused", "%d" % found.refused),
        ("pages before: p50, p99, slowest", _show_times(before)),
        ("pages from then on: p50, p99, slowest", "%s of %d" % (_show_times(pages.took), len(pages.took))),
        ("pages that failed", ", ".join(pages.failed) or "0"),
        ("events published, lost, streams with an event twice", "%d, %d, %d" % (published, missing, found.disordered)),
        ("resets", "%d" % found.resets),
    ]  # fmt: skip
    return table(("%s, %d streams, %d workers on one core" % (disaster.name, streams, WORKERS), ""), rows)


def _show_times(took: list[float]) -> str:
    figures = (percentile(took, 0.5), percentile(took, 0.99), max(took))
    return "%.1f, %.1f, %.1f ms" % tuple(figure * 1000 for figure in figures)
