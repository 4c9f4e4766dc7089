"""Measures that a store stays small while a million events pass through it: disk, memory, events kept, rate.

A separate process publishes as fast as it can, to channels like those of applications, and this process measures. The
store keeps events for ``seconds``, and ``events`` of each channel, so it must stop growing: the busy channels at their
limit of events, the many small ones at their limit of age.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import tempfile
import time
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from typing import Any, Callable, Iterator, NamedTuple

from flask_ssemux.brokers import Broker, HistoryLimits, open_broker
from flask_ssemux.sse import encode

from . import event, picture, process, redis_server
from .table import progress, table

#: Seconds between two readings of disk and memory, and between two questions to the store about what it keeps.
PAUSE, ASK = 0.2, 1.0

#: Rows of the table.
ROWS = 10

#: The number of busy channels; how many of a hundred events go to them, and how many to a job's channel. The others go
#: to users' own channels, each of which is used once.
BUSY, TO_BUSY, TO_JOBS = 4, 60, 25

#: The events of one job.
JOB = 4


class Moment(NamedTuple):
    """One moment. ``kept`` and ``channels`` are the store's last answer. ``disk``, ``publisher`` and ``server`` (Redis)
    are in bytes.
    """

    published: int
    seconds: float
    kept: int
    channels: int
    disk: int
    publisher: int
    server: int


class Store(NamedTuple):
    """A store that is created for the measurement.

    :param disk: returns the bytes that it has on disk now.
    :param pid: the process id of its server; 0 for none.
    """

    url: str
    disk: Callable[[], int]
    pid: int


HEAD = ("events published", "a second", "events kept", "channels kept", "disk MB", "publisher MB", "server MB")


def measure_history(engine: str, events: int, seconds: float, limit: int) -> list[Moment]:
    """Publish this many events, and return all moments that were recorded.

    :param engine: ``sqlite`` or ``redis``.
    :param seconds: SSEMUX_HISTORY_SECONDS.
    :param limit: SSEMUX_HISTORY_EVENTS.
    :raises RuntimeError: the publisher failed.
    """
    limits = HistoryLimits(seconds, limit)
    with ENGINES[engine]() as store, _publisher(store.url, limits, events) as (publisher, published):
        broker = open_broker(store.url)
        moments: list[Moment] = []
        try:
            for moment in _observe(broker, store, publisher, published):
                if not moments or moment.published * 20 // events > moments[-1].published * 20 // events:
                    told = zip(HEAD, _cells(moment, moments[:1]))
                    progress("%s: %s" % (engine, ", ".join("%s %s" % pair for pair in told)))
                moments.append(moment)
        finally:
            broker.close()
    if moments[-1].published < events:
        raise RuntimeError("%s: the publisher ended after %d of %d events" % (engine, moments[-1].published, events))
    return moments


def make_rows(moments: list[Moment]) -> list[list[str]]:
    """Return ``ROWS`` rows of the table. Disk and memory are the maximum since the row before."""
    marks = [moments[-1].published * (number + 1) // ROWS for number in range(ROWS)]
    found: list[list[str]] = []
    past: list[Moment] = moments[:1]
    for mark in marks:
        part = [moment for moment in moments if past[-1].published < moment.published <= mark] or moments[-1:]
        found.append(_cells(_most(part), past))
        past = part[-1:]
    return found


def make_table(moments: list[Moment]) -> str:
    """Return the table."""
    return table(HEAD, make_rows(moments))


def draw_picture(found: dict[str, list[Moment]], path: str) -> None:
    """Draw disk, memory and events kept over the published events, with a line for each engine."""
    lines = {name: moments[:-1] for name, moments in found.items()}
    values: list[tuple[str, Callable[[Moment], float]]] = [
        ("events kept", lambda moment: moment.kept),
        ("disk, MB", lambda moment: moment.disk / 1e6),
        ("memory of publisher and server, MB", lambda moment: (moment.publisher + moment.server) / 1e6),
    ]
    panels = [
        picture.Panel(title, "events published", lines, lambda moment: moment.published, value)
        for title, value in values
    ]
    picture.draw_lines(panels, path)


def _most(part: list[Moment]) -> Moment:
    columns = list(zip(*part))
    last = part[-1]
    return last._replace(disk=max(columns[4]), publisher=max(columns[5]), server=max(columns[6]))


def _cells(moment: Moment, past: list[Moment]) -> list[str]:
    before = past[0] if past else moment
    rate = (moment.published - before.published) / max(0.001, moment.seconds - before.seconds)
    return [
        f"{moment.published:,}", f"{rate:,.0f}", f"{moment.kept:,}", f"{moment.channels:,}",
        "%.1f" % (moment.disk / 1e6), "%.1f" % (moment.publisher / 1e6),
        "%.1f" % (moment.server / 1e6) if moment.server else "none",
    ]  # fmt: skip


def _observe(broker: Broker, store: Store, publisher: BaseProcess, published: Any) -> Iterator[Moment]:
    began = asked = time.monotonic()
    figures: Any = {}
    alive = True
    while alive:
        alive = publisher.is_alive()
        now = time.monotonic()
        if not figures or now - asked > ASK or not alive:
            figures, asked = broker.get_figures(), now
        own = process.read_resident(publisher.pid or 0) * 1024 if alive else 0
        server = process.read_resident(store.pid) * 1024 if store.pid else 0
        kept, channels = int(figures["events"]), int(figures["channels"])
        yield Moment(published.value, now - began, kept, channels, store.disk(), own, server)
        publisher.join(PAUSE)


@contextmanager
def _publisher(url: str, limits: HistoryLimits, events: int) -> Iterator[tuple[BaseProcess, Any]]:
    spawn = multiprocessing.get_context("spawn")
    published = spawn.Value("q", 0, lock=False)
    # daemon: it ends with this process. It runs on the first core, where other benchmarks run the server.
    child = spawn.Process(target=_publish_events, args=(url, limits, events, published), daemon=True)
    child.start()
    try:
        yield child, published
    finally:
        child.kill()
        child.join()


def _publish_events(url: str, limits: HistoryLimits, events: int, published: Any) -> None:
    os.sched_setaffinity(0, {process.choose_cores()[0]})
    broker = open_broker(url, limits)
    for number, channel in enumerate(_channels(events)):
        broker.history.append_event(channel, encode.make_body(channel, event.make_data(), event.NAME, 1024))
        published.value = number + 1
    broker.close()


def _channels(events: int) -> Iterator[str]:
    chance = random.Random(1)
    jobs = users = 0
    for _ in range(events):
        drawn = chance.randrange(100)
        if drawn < TO_BUSY:
            yield "room:%d" % chance.randrange(BUSY)
        elif drawn < TO_BUSY + TO_JOBS:
            jobs += 1
            yield "jobs:%d" % (jobs // JOB)
        else:
            users += 1
            yield encode.user_channel(users)


@contextmanager
def _sqlite() -> Iterator[Store]:
    folder = tempfile.mkdtemp(prefix="ssemux-bench-")
    try:
        yield Store("sqlite:///" + os.path.join(folder, "bench.sqlite3"), lambda: _size(folder), 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _redis() -> Iterator[Store]:
    with redis_server.RedisServer(process.choose_cores()[-1]) as server:
        yield Store(server.url, server.disk, server.pid)


def _size(folder: str) -> int:
    """Return the bytes of the database, its log and its index."""
    found = 0
    for entry in os.scandir(folder):
        try:
            found += entry.stat().st_size
        except FileNotFoundError:
            pass
    return found


ENGINES: dict[str, Callable[[], Any]] = {"sqlite": _sqlite, "redis": _redis}
