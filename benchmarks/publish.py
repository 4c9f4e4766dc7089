"""How soon an event is there, at light load, and what it costs to publish one."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from statistics import median

import flask_ssemux

from . import event, process, servers
from .client import Load
from .table import percentile, progress, spread, table

#: Streams that listen; few, so that the last of them is not what is measured.
STREAMS = 10

#: Streams that are opened at most until each worker has one.
MOST = 200

#: Rounds of appends; each is measured by itself.
ROUNDS = 5


def measure(events: int, rate: float, appends: int) -> str:
    """Two tables: the way of an event, and its publisher's cost."""
    ways = [_row("memory", "the same", *_latencies("memory:", 1, events, rate)[:1])]
    same, other = _latencies("sqlite:", 2, events, rate)
    ways += [_row("sqlite", "the same", same), _row("sqlite", "another", other)]
    head = ("broker", "worker", "p50 ms", "p99 ms", "samples")
    return "%s\n\n%s" % (table(head, ways), _appends(appends))


def _row(broker: str, worker: str, found: list[float]) -> list[str]:
    return [broker, worker, "%.2f" % median(found or [0]), "%.2f" % percentile(found, 0.99), "%d" % len(found)]


def _latencies(broker: str, workers: int, events: int, rate: float) -> tuple[list[float], list[float]]:
    """Milliseconds from publish to receipt: by the publisher's worker, by another."""
    progress("%s, %d worker(s): %d events at %g/s" % (broker, workers, events, rate))
    ours, theirs = process.cores()
    contender = servers.flask_ssemux(broker)
    with servers.Server(contender, ours, workers) as server, Load(
        server.port, servers.STREAM, theirs, 1, nap=0
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


def _appends(appends: int) -> str:
    progress("%d rounds of %d appends" % (ROUNDS, appends))
    folder = tempfile.mkdtemp(prefix="ssemux-bench-")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {process.cores()[0]})
    try:
        with flask_ssemux.Publisher("sqlite:///" + os.path.join(folder, "bench.sqlite3")) as publisher:
            _round(publisher, 100)
            found = [_round(publisher, appends) for _ in range(ROUNDS)]
    finally:
        os.sched_setaffinity(0, before)
        shutil.rmtree(folder, ignore_errors=True)
    row = ["Publisher.publish, sqlite", spread([cpu for cpu, _ in found]), spread([wall for _, wall in found])]
    return table(("one event", "µs CPU", "µs"), [row])


def _round(publisher: flask_ssemux.Publisher, appends: int) -> tuple[float, float]:
    began, spent = time.perf_counter(), time.process_time()
    for _ in range(appends):
        publisher.publish(event.CHANNEL, event.data(), event.NAME)
    return (time.process_time() - spent) / appends * 1e6, (time.perf_counter() - began) / appends * 1e6
