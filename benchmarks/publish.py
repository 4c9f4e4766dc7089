"""Measures the latency of an event at a light load, the cost of publishing one, and how many are published a second."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from statistics import median
from typing import Any, Callable, Iterator, NamedTuple

import flask_ssemux

from . import contenders, event, process, servers
from .client import Load
from .fleet import Fleet
from .stores import STORES
from .table import percentile, progress, spread, table

#: The number of streams. There are few, so that the measured latency is not that of the last of many streams.
STREAMS = 10

#: The maximum of streams that are opened until each worker has one.
MOST = 200

#: Rounds of publishing; each is measured separately.
ROUNDS = 5

#: Processes that publish as many events as possible, and the seconds of that.
CROWDS, CROWD_SECONDS = (1, 4), 3.0

#: The targets, in ms at the median, in the same worker and in another.
TARGETS = {"memory": ("< 2", ""), "sqlite": ("< 2", "< 15"), "redis": ("< 2", "< 5"), "postgres": ("< 2", "< 4")}


class _Engine(NamedTuple):
    """A broker that is measured.

    :param url: for processes; "" if it has one process only.
    :param server: the URL for a server's workers.
    :param cpu: returns the seconds of CPU time of the store's own processes; None if it has none.
    """

    name: str
    url: str
    server: str
    cpu: Callable[[], float] | None = None


def measure_publishing(events: int, rate: float, appends: int) -> str:
    """Return two tables: the latency of an event, and what publishing costs."""
    ways: list[list[str]] = []
    costs: list[list[str]] = []
    missing: list[str] = []
    for name in ("memory", "sqlite", *STORES):
        if name in STORES and not STORES[name][0]():
            missing.append("\n%s: missing, because it is not installed on this machine" % name)
            continue
        with _opened(name) as engine:
            ways += _measure_ways(engine, events, rate)
            costs += [_measure_cost(engine, appends)] if engine.url else []
    head = ("broker", "worker", "p50 ms", "target", "p99 ms", "samples")
    cost_head = ("one publish", "µs CPU", "µs CPU of the store's server", "µs",
                 *("a second, %d process%s" % (count, "es"[: 2 * (count > 1)]) for count in CROWDS))  # fmt: skip
    return "\n\n".join([table(head, ways), table(cost_head, costs)]) + "".join(missing)


@contextmanager
def _opened(name: str) -> Iterator[_Engine]:
    if name == "memory":
        yield _Engine(name, "", "memory:")
    elif name == "sqlite":
        folder = tempfile.mkdtemp(prefix="ssemux-bench-")
        try:
            yield _Engine(name, "sqlite:///" + os.path.join(folder, "bench.sqlite3"), "sqlite:")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    else:
        with STORES[name][1](None, 10) as store:
            yield _Engine(name, store.url, store.url, store.cpu)


def _measure_ways(engine: _Engine, events: int, rate: float) -> list[list[str]]:
    workers = 2 if engine.url else 1
    same, other = measure_latencies(engine.server, workers, events, rate)
    rows = [_row(engine.name, "the same", TARGETS[engine.name][0], same)]
    return rows + ([_row(engine.name, "another", TARGETS[engine.name][1], other)] if engine.url else [])


def _row(broker: str, worker: str, target: str, found: list[float]) -> list[str]:
    if not found:
        return [broker, worker, "no event arrived", target, "-", "0"]
    return [broker, worker, "%.2f" % median(found), target, "%.2f" % percentile(found, 0.99), "%d" % len(found)]


def measure_latencies(broker: str, workers: int, events: int, rate: float) -> tuple[list[float], list[float]]:
    """Return the milliseconds from publish to receipt: in the publisher's worker, and in another one."""
    progress("%s, %d worker(s): %d events at %g/s" % (broker, workers, events, rate))
    ours, theirs = process.choose_cores()
    contender = contenders.flask_ssemux(broker)
    with servers.Server(contender, ours, workers) as server, Load(
        server.port, contenders.STREAM, theirs, 1, nap=0, first=contender.first
    ) as load:
        load.open(STREAMS)
        for _ in range(MOST // STREAMS):
            if len(load.report().workers) == workers:
                break
            load.open(STREAMS)
        streams = sum(load.report().workers.values())
        time.sleep(0.5)
        load.start()
        server.publish(events, rate)
        load.wait(events * streams, events / rate + 10)
        samples = load.report().samples
    found: tuple[list[float], list[float]] = ([], [])
    for sample in samples:
        found[not sample.same_worker].append(sample.seconds * 1e3)
    return found


def _measure_cost(engine: _Engine, appends: int) -> list[str]:
    progress("%s: %d rounds of %d appends" % (engine.name, ROUNDS, appends))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {process.choose_cores()[0]})
    try:
        with flask_ssemux.Publisher(engine.url) as publisher:
            _measure_round(publisher, 100, engine.cpu)
            found = [_measure_round(publisher, appends, engine.cpu) for _ in range(ROUNDS)]
    finally:
        os.sched_setaffinity(0, before)
    own, others, wall = zip(*found)
    crowds = ("%.0f" % measure_rate(engine.url, count) for count in CROWDS)
    return [engine.name, spread(own), spread(others) if engine.cpu else "none", spread(wall), *crowds]


def _measure_round(
    publisher: flask_ssemux.Publisher, appends: int, cpu: Callable[[], float] | None
) -> tuple[float, float, float]:
    """Return the µs of one publish: CPU time of this process, CPU time of the store's server, and elapsed time."""
    others = cpu() if cpu else 0.0
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(appends):
        publisher.publish(event.CHANNEL, event.make_data(), event.NAME)
    spent, seconds = time.process_time() - spent, time.perf_counter() - began
    others = cpu() - others if cpu else 0.0
    return spent / appends * 1e6, others / appends * 1e6, seconds / appends * 1e6


def measure_rate(url: str, processes: int, core: int | None = None) -> float:
    """Return how many events a second so many processes publish, each one event after the other."""
    progress("%d process(es) publish as much as possible" % processes)
    with Fleet(url) as fleet:
        fleet.start("publisher", processes, core)
        for seconds in (0.3, CROWD_SECONDS):  # first, what a beginning costs
            for number, member in enumerate(fleet.publishers):
                member.send(
                    "publish", users=1000, seed=number, rate=0.0, seconds=seconds, events=10_000_000, callers=1
                )  # fmt: skip
            published: list[Any] = [member.receive() for member in fleet.publishers]
    return sum(map(len, published)) / CROWD_SECONDS
