"""Measures two workers on two cores beside one worker: the cost of a delivery, and how many are made a second.

The machine has no third core, so the clients share the second one with the server. An event goes to all streams. One
worker publishes; the other receives the events through the broker. nchan's workers share memory. Servers that need a
program of their own to share events between processes are left out.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple, Sequence

from . import contenders, event, install, process
from .client import Load
from .contenders import STREAM, Contender, list_brokers
from .servers import Server
from .table import percentile, progress, spread, table

#: Workers that are compared.
WORKERS = (1, 2)

#: Events of the burst: fewer than what ends the stream of a client that reads slowly.
BURST = 200

#: Events before anything is measured; seconds that the last event may be late, and that opening may take.
WARM_UP, LATE, OPENING = 20, 30.0, 120.0


class Run(NamedTuple):
    """µs of CPU a delivery, latencies in ms, deliveries a second in a burst, and how the streams were spread.

    :param busiest: the share of the streams that the worker with the most had.
    """

    cpu: float
    middle: float
    last: float
    rate: float
    busiest: float
    is_complete: bool


def measure_cores(clients: int, events: int, rate: float, rounds: int, brokers: Sequence[str]) -> str:
    """Return the table.

    :param events: that are published at this rate, for the CPU time and the latency.
    """
    theirs = process.choose_cores()[-1]
    with ExitStack() as stack:
        found = list(_list_contenders(stack, theirs, brokers))
        runs: dict[tuple[str, int], list[Run]] = {}
        for number in range(rounds):
            for name, contender in found:
                for workers in WORKERS:
                    progress("round %d of %d: %s, %d workers" % (number + 1, rounds, name, workers))
                    run = _measure(contender, clients, events, rate, workers, theirs)
                    runs.setdefault((name, workers), []).append(run)
    head = ("%d connections" % clients, "workers", "µs CPU a delivery", "p50 ms", "p99 ms",
            "deliveries a second, burst", "of one worker's", "most streams on a worker", "delivered")  # fmt: skip
    return table(head, [_make_row(name, workers, had, runs[name, 1]) for (name, workers), had in runs.items()])


def _list_contenders(stack: ExitStack, core: int, brokers: Sequence[str]) -> list[tuple[str, Contender]]:
    found = list(list_brokers(stack, brokers, core))
    try:
        found.append(("nchan", contenders.PEERS["nchan"]()))
    except install.Missing as error:
        progress("nchan is missing: %s" % error)
    return found


def _measure(contender: Contender, clients: int, events: int, rate: float, workers: int, core: int) -> Run:
    with ExitStack() as stack:
        server = stack.enter_context(Server(contender, None, workers=workers))
        load = stack.enter_context(Load(server.port, STREAM, core, first=contender.first))
        load.open(clients, OPENING)
        load.start()
        server.publish(WARM_UP, rate)
        load.wait(WARM_UP * clients, WARM_UP / rate + LATE)
        load.start()
        spent = server.cpu()
        server.publish(events, rate)
        came = load.wait(events * clients, events / rate + LATE)
        spent = server.cpu() - spent
        seen = load.report()
        burst, seconds = _measure_burst(server, load, clients)
    latencies = [sample.seconds * 1e3 for sample in seen.samples]
    busiest = max(seen.workers.values()) / clients if 0 not in seen.workers else 0.0
    return Run(
        spent / max(1, came) * 1e6, percentile(latencies, 0.5), percentile(latencies, 0.99), burst / seconds, busiest,
        came == events * clients and burst == BURST * clients,
    )  # fmt: skip


def _measure_burst(server: Server, load: Load, clients: int) -> tuple[int, float]:
    """Return how many events of a burst arrived, and the seconds until the last one."""
    load.start()
    began = time.monotonic()
    server.publish(BURST, 0.0, event.SIZE)
    came = load.wait(BURST * clients, LATE)
    return came, time.monotonic() - began


def _make_row(name: str, workers: int, runs: list[Run], single: list[Run]) -> list[str]:
    ratio = median(run.rate / one.rate for run, one in zip(runs, single))
    busiest = median(run.busiest for run in runs)
    return [
        name, str(workers), spread([run.cpu for run in runs]), spread([run.middle for run in runs]),
        spread([run.last for run in runs]), spread([run.rate / 1e3 for run in runs], "%.0fk"), "%.2f" % ratio,
        "%.0f %%" % (busiest * 100) if busiest else "-", "all" if all(run.is_complete for run in runs) else "not all",
    ]  # fmt: skip
