"""How soon an event is there, at light load, and what it costs to publish one."""

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

#: Streams that listen; few, so that the last of them is not what is measured.
STREAMS = 10

#: Streams that are opened at most until each worker has one.
MOST = 200

#: Rounds of appends; each is measured by itself.
ROUNDS = 5


#: What design.md promises, in ms at the median.
_SAME, _SQLITE, _REDIS = "< 2", "< 15", "< 5"


def measure(events: int, rate: float, appends: int) -> str:
    """Two tables: the way of an event, and its publisher's cost."""
    ways = [_row("memory", "the same", _SAME, _latencies("memory:", 1, events, rate)[0])]
    costs = [_cost("sqlite", appends)]
    same, other = _latencies("sqlite:", 2, events, rate)
    ways += [_row("sqlite", "the same", _SAME, same), _row("sqlite", "another", _SQLITE, other)]
    if redis_server.is_here():
        with redis_server.RedisServer() as redis:
            same, other = _latencies(redis.url, 2, events, rate)
            costs.append(_cost("redis", appends, redis.url, redis.pid))
        ways += [_row("redis", "the same", _SAME, same), _row("redis", "another", _REDIS, other)]
    head = ("broker", "worker", "p50 ms", "promised", "p99 ms", "samples")
    tables = [table(head, ways), table(("one event", "µs CPU", "µs CPU of its server", "µs"), costs)]
    return "\n\n".join(tables) + ("" if redis_server.is_here() else "\nredis: missing, there is no redis-server here")


def _row(broker: str, worker: str, promised: str, found: list[float]) -> list[str]:
    if not found:
        return [broker, worker, "no event came", promised, "-", "0"]
    return [broker, worker, "%.2f" % median(found), promised, "%.2f" % percentile(found, 0.99), "%d" % len(found)]


def _latencies(broker: str, workers: int, events: int, rate: float) -> tuple[list[float], list[float]]:
    """Milliseconds from publish to receipt: by the publisher's worker, by another."""
    progress("%s, %d worker(s): %d events at %g/s" % (broker, workers, events, rate))
    ours, theirs = process.cores()
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


def _cost(name: str, appends: int, url: str = "", server: int = 0) -> list[str]:
    progress("%s: %d rounds of %d appends" % (name, ROUNDS, appends))
    folder = tempfile.mkdtemp(prefix="ssemux-bench-")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {process.cores()[0]})
    try:
        with flask_ssemux.Publisher(url or "sqlite:///" + os.path.join(folder, "bench.sqlite3")) as publisher:
            _round(publisher, 100, server)
            found = [_round(publisher, appends, server) for _ in range(ROUNDS)]
    finally:
        os.sched_setaffinity(0, before)
        shutil.rmtree(folder, ignore_errors=True)
    own, others, wall = zip(*found)
    return ["Publisher.publish, " + name, spread(own), spread(others) if server else "none", spread(wall)]


def _round(publisher: flask_ssemux.Publisher, appends: int, server: int) -> tuple[float, float, float]:
    """µs of one: CPU of ours, CPU of the broker's server, time."""
    others = process.cpu(server) if server else 0.0
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(appends):
        publisher.publish(event.CHANNEL, event.data(), event.NAME)
    spent, seconds = time.process_time() - spent, time.perf_counter() - began
    others = process.cpu(server) - others if server else 0.0
    return spent / appends * 1e6, others / appends * 1e6, seconds / appends * 1e6
