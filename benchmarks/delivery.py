"""What a delivery costs: CPU of the server for each event and client, beside its connections' memory and opening.

Each contender in turn, several runs of each, so that a noisy minute does not hit one of them alone.
"""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple, Sequence

from . import process
from .client import BUSY, Load
from .servers import STREAM, Contender, Server
from .table import percentile, progress, spread, table

#: Streams that come and go before anything is measured, so that what is made once is made.
WARM_UP = 50

#: Seconds in which an idle server's CPU is measured, to be taken off.
IDLE = 1.0

#: Seconds that the last delivery may be late.
LATE = 20.0


class Run(NamedTuple):
    """One contender once. CPU in µs, memory in KB, times in ms; ``busy`` and ``client`` are shares of a core."""

    delivery: float
    memory: float
    opening: float
    middle: float
    last: float
    came: int
    expected: int
    uneven: bool
    busy: float
    client: float


def measure(contenders: Sequence[Contender], clients: int, events: int, rate: float, runs: int, nap: float) -> str:
    """The table, and what has to be said about it."""
    found: list[list[Run]] = [[] for _ in contenders]
    for number in range(runs):
        for contender, had in zip(contenders, found):
            progress("run %d of %d: %s" % (number + 1, runs, contender.name))
            had.append(_run(contender, clients, events, rate, nap))
    head = ("%d clients, %d events" % (clients, events), "µs CPU a delivery", "KB a connection",
            "µs CPU to open", "p50 ms", "p99 ms", "server %", "delivered")  # fmt: skip
    rows = [_row(contender.name, had) for contender, had in zip(contenders, found)]
    return "\n".join([table(head, rows), *_remarks(contenders, found)])


def _run(contender: Contender, clients: int, events: int, rate: float, nap: float) -> Run:
    ours, theirs = process.cores()
    with Server(contender, ours) as server, Load(server.port, STREAM, theirs, nap=nap) as load:
        load.open(WARM_UP)
        load.drop()
        time.sleep(0.3)
        memory, spent = process.memory(server.pid), process.cpu(server.pid)
        load.open(clients)
        opening = process.cpu(server.pid) - spent
        memory = process.memory(server.pid) - memory
        idle = _idle(server.pid)
        load.start()
        began, spent = time.monotonic(), process.cpu(server.pid)
        server.publish(events, rate)
        load.wait(clients * events, events / rate + LATE)
        seconds, spent = time.monotonic() - began, process.cpu(server.pid) - spent
        seen = load.report()
    latencies = [sample.seconds * 1e3 for sample in seen.samples]
    return Run(
        (spent - idle * seconds) / max(1, seen.events) * 1e6, memory / clients, opening / clients * 1e6,
        median(latencies or [0.0]), percentile(latencies, 0.99),
        seen.events, clients * events, seen.fewest != seen.most, spent / seconds, seen.share,
    )  # fmt: skip


def _idle(pid: int) -> float:
    """The share of a core that it uses for nothing."""
    time.sleep(0.5)
    began, spent = time.monotonic(), process.cpu(pid)
    time.sleep(IDLE)
    return (process.cpu(pid) - spent) / (time.monotonic() - began)


def _row(name: str, runs: list[Run]) -> list[str]:
    complete = all(run.came == run.expected and not run.uneven for run in runs)
    return [
        name,
        spread([run.delivery for run in runs]),
        spread([run.memory for run in runs]),
        spread([run.opening for run in runs], "%.0f"),
        spread([run.middle for run in runs]),
        spread([run.last for run in runs]),
        spread([run.busy * 100 for run in runs], "%.0f"),
        "all" if complete else "%d of %d" % (sum(run.came for run in runs), sum(run.expected for run in runs)),
    ]


def _remarks(contenders: Sequence[Contender], found: list[list[Run]]) -> list[str]:
    said = ["client: at most %.0f %% of its core" % (max(run.client for runs in found for run in runs) * 100)]
    for contender, runs in zip(contenders, found):
        if max(run.client for run in runs) > BUSY:
            said.append("%s: the client was over %.0f %%: its row is not worth much" % (contender.name, BUSY * 100))
        if max(run.busy for run in runs) > 0.95:
            said.append(
                "%s: the server had no time left, and joins events into one write then: lower --rate" % contender.name
            )
    return said
