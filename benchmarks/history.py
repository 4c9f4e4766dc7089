"""A store stays small while a million events pass through it: disk, memory, events kept, rate.

A process of its own publishes as fast as it can, to channels as applications have them; this one looks on. The store
keeps ``seconds`` of age and ``events`` of each channel, so what it holds must stop growing: the busy channels at
their limit of events, the many small ones at their limit of age.
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

from flask_ssemux.brokers import Broker, History, open_broker
from flask_ssemux.sse import encode

from . import event, picture, process, redis_server
from .table import progress, table

#: Seconds between two looks at disk and memory, and between two at what is kept, which is a question to the store.
LOOK, ASK = 0.2, 1.0

#: Rows of the table.
ROWS = 10

#: Busy channels; of a hundred events so many go to them, and so many to a job's channel; the rest to a
#: user's own, which is used once.
BUSY, TO_BUSY, TO_JOBS = 4, 60, 25

#: Events of one job.
JOB = 4


class Look(NamedTuple):
    """One moment. ``kept`` and ``channels`` are the last answer; memory and disk in bytes; ``server`` is Redis's."""

    published: int
    seconds: float
    kept: int
    channels: int
    disk: int
    publisher: int
    server: int


class Store(NamedTuple):
    """An engine's store, made for this.

    :param disk: bytes it has on disk now.
    :param pid: of its server; 0 for none.
    """

    url: str
    disk: Callable[[], int]
    pid: int


HEAD = ("events published", "a second", "events kept", "channels kept", "disk MB", "publisher MB", "server MB")


def measure(engine: str, events: int, seconds: float, limit: int) -> list[Look]:
    """All looks while so many events pass.

    :param engine: ``sqlite`` or ``redis``.
    :param seconds: SSEMUX_HISTORY_SECONDS.
    :param limit: SSEMUX_HISTORY_EVENTS.
    :raises RuntimeError: the publisher failed.
    """
    with ENGINES[engine]() as store, _publisher(store.url, History(seconds, limit), events) as (publisher, published):
        broker = open_broker(store.url)
        looks: list[Look] = []
        try:
            for look in _looks(broker, store, publisher, published):
                if not looks or look.published * 20 // events > looks[-1].published * 20 // events:
                    told = zip(HEAD, _cells(look, looks[:1]))
                    progress("%s: %s" % (engine, ", ".join("%s %s" % pair for pair in told)))
                looks.append(look)
        finally:
            broker.close()
    if looks[-1].published < events:
        raise RuntimeError("%s: the publisher ended after %d of %d" % (engine, looks[-1].published, events))
    return looks


def rows(looks: list[Look]) -> list[list[str]]:
    """``ROWS`` of them: what was published and kept by then, and the most of disk and memory since the row before."""
    marks = [looks[-1].published * (number + 1) // ROWS for number in range(ROWS)]
    found: list[list[str]] = []
    past: list[Look] = looks[:1]
    for mark in marks:
        part = [look for look in looks if past[-1].published < look.published <= mark] or looks[-1:]
        found.append(_cells(_most(part), past))
        past = part[-1:]
    return found


def report(looks: list[Look]) -> str:
    """The table."""
    return table(HEAD, rows(looks))


def draw(found: dict[str, list[Look]], path: str) -> None:
    """Disk, memory and what is kept, over the events that passed; an engine each a line."""
    lines = {name: looks[:-1] for name, looks in found.items()}
    values: list[tuple[str, Callable[[Look], float]]] = [
        ("events kept", lambda look: look.kept),
        ("disk, MB", lambda look: look.disk / 1e6),
        ("memory of publisher and server, MB", lambda look: (look.publisher + look.server) / 1e6),
    ]
    panels = [
        picture.Panel(title, "events published", lines, lambda look: look.published, value) for title, value in values
    ]
    picture.lines(panels, path)


def _most(part: list[Look]) -> Look:
    columns = list(zip(*part))
    last = part[-1]
    return last._replace(disk=max(columns[4]), publisher=max(columns[5]), server=max(columns[6]))


def _cells(look: Look, past: list[Look]) -> list[str]:
    before = past[0] if past else look
    rate = (look.published - before.published) / max(0.001, look.seconds - before.seconds)
    return [
        f"{look.published:,}", f"{rate:,.0f}", f"{look.kept:,}", f"{look.channels:,}",
        "%.1f" % (look.disk / 1e6), "%.1f" % (look.publisher / 1e6),
        "%.1f" % (look.server / 1e6) if look.server else "none",
    ]  # fmt: skip


def _looks(broker: Broker, store: Store, publisher: BaseProcess, published: Any) -> Iterator[Look]:
    began = asked = time.monotonic()
    figures: Any = {}
    alive = True
    while alive:
        alive = publisher.is_alive()
        now = time.monotonic()
        if not figures or now - asked > ASK or not alive:
            figures, asked = broker.get_figures(), now
        own = process.resident(publisher.pid or 0) * 1024 if alive else 0
        server = process.resident(store.pid) * 1024 if store.pid else 0
        kept, channels = int(figures["events"]), int(figures["channels"])
        yield Look(published.value, now - began, kept, channels, store.disk(), own, server)
        publisher.join(LOOK)


@contextmanager
def _publisher(url: str, history: History, events: int) -> Iterator[tuple[BaseProcess, Any]]:
    spawn = multiprocessing.get_context("spawn")
    published = spawn.Value("q", 0, lock=False)
    # daemon: ended with us. It has the first core, which servers have elsewhere.
    child = spawn.Process(target=_publish, args=(url, history, events, published), daemon=True)
    child.start()
    try:
        yield child, published
    finally:
        child.kill()
        child.join()


def _publish(url: str, history: History, events: int, published: Any) -> None:
    os.sched_setaffinity(0, {process.cores()[0]})
    broker = open_broker(url, history)
    for number, channel in enumerate(_channels(events)):
        broker.history.append_event(channel, encode.body(channel, event.data(), event.NAME, 1024))
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
    with redis_server.RedisServer(process.cores()[-1]) as server:
        yield Store(server.url, server.disk, server.pid)


def _size(folder: str) -> int:
    """Bytes of the database, its log and its index."""
    found = 0
    for entry in os.scandir(folder):
        try:
            found += entry.stat().st_size
        except FileNotFoundError:
            pass
    return found


ENGINES: dict[str, Callable[[], Any]] = {"sqlite": _sqlite, "redis": _redis}
