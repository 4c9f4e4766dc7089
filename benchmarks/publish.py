"""Measures the latency of an event at a light load, and the cost of publishing one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from statistics import median

import flask_ssemux

from . import contenders, event, process, redis_server, servers
from .client import Load
from .table import percentile, progress, spread, table

#: The number of streams. There are few, so that the measured latency is not that of the last of many streams.
STREAMS = 10

#: The maximum of streams that are opened until each worker has one.
MOST = 200

#: Rounds of publishing; each is measured separately.
ROUNDS = 5


#: The targets, in ms at the median.
_SAME, _SQLITE, _REDIS = "< 2", "< 15", "< 5"


def measure_publishing(events: int, rate: float, appends: int) -> str:
    """Return two tables: the latency of an event, and the publisher's cost."""
    ways = [_row("memory", "the same", _SAME, _measure_latencies("memory:", 1, events, rate)[0])]
    costs = [_measure_cost("sqlite", appends)]
    same, other = _measure_latencies("sqlite:", 2, events, rate)
    ways += [_row("sqlite", "the same", _SAME, same), _row("sqlite", "another", _SQLITE, other)]
    if redis_server.is_installed():
        with redis_server.RedisServer() as redis:
            same, other = _measure_latencies(redis.url, 2, events, rate)
            costs.append(_measure_cost("redis", appends, redis.url, redis.pid))
        ways += [_row("redis", "the same", _SAME, same), _row("redis", "another", _REDIS, other)]
    head = ("broker", "worker", "p50 ms", "target", "p99 ms", "samples")
    tables = [table(head, ways), table(("one event", "µs CPU", "µs CPU of its server", "µs"), costs)]
    return "\n\n".join(tables) + (
        "" if redis_server.is_installed() else "\nredis: missing, because redis-server is not installed"
    )


def _row(broker: str, worker: str, target: str, found: list[float]) -> list[str]:
    if not found:
        return [broker, worker, "no event arrived", target, "-", "0"]
    return [broker, worker, "%.2f" % median(found), target, "%.2f" % percentile(found, 0.99), "%d" % len(found)]


def _measure_latencies(broker: str, workers: int, events: int, rate: float) -> tuple[list[float], list[float]]:
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


def _measure_cost(name: str, appends: int, url: str = "", server: int = 0) -> list[str]:
    progress("%s: %d rounds of %d appends" % (name, ROUNDS, appends))
    folder = tempfile.mkdtemp(prefix="ssemux-bench-")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {process.choose_cores()[0]})
    try:
        with flask_ssemux.Publisher(url or "sqlite:///" + os.path.join(folder, "bench.sqlite3")) as publisher:
            _measure_round(publisher, 100, server)
            found = [_measure_round(publisher, appends, server) for _ in range(ROUNDS)]
    finally:
        os.sched_setaffinity(0, before)
        shutil.rmtree(folder, ignore_errors=True)
    own, others, wall = zip(*found)
    return ["Publisher.publish, " + name, spread(own), spread(others) if server else "none", spread(wall)]


def _measure_round(publisher: flask_ssemux.Publisher, appends: int, server: int) -> tuple[float, float, float]:
    """Return the µs of one publish: CPU time of this process, CPU time of the broker's server, and elapsed time."""
    others = process.read_cpu(server) if server else 0.0
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(appends):
        publisher.publish(event.CHANNEL, event.make_data(), event.NAME)
    spent, seconds = time.process_time() - spent, time.perf_counter() - began
    others = process.read_cpu(server) - others if server else 0.0
    return spent / appends * 1e6, others / appends * 1e6, seconds / appends * 1e6
