"""Measures events that go to one user each: what per-user queues are for. In a burst, and one every few milliseconds.

All servers are measured in turn, several rounds. The CPU time of a server contains publishing: ours and better-sse
publish in the server's process; for nchan and pushpin, the HTTP request is in it, and the process that makes the
request is not.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple, Sequence

from . import contenders, install, process
from .client import Load
from .contenders import Contender, list_brokers
from .servers import Server
from .table import percentile, progress, spread, table

#: Events before anything is measured, for each user.
WARM_UP = 2

#: Seconds in which an idle server's CPU time is measured, which is subtracted.
IDLE = 1.0

#: Seconds that the last event may be late.
LATE = 60.0


class Run(NamedTuple):
    """µs of CPU time for each event, the median latency in ms, and how many of how many events arrived."""

    cpu: float
    latency: float
    came: int
    sent: int


def measure_user_events(
    users: int, events: int, pace: float, rounds: int, peers: Sequence[str], brokers: Sequence[str]
) -> str:
    """Return the table.

    :param users: streams, each of a user of its own.
    :param events: in a burst.
    :param pace: seconds between two events of the second measurement, which lasts ten seconds.
    :param peers: names of the other servers to measure.
    """
    ours, theirs = process.choose_cores()
    with ExitStack() as stack:
        found = list(_list_contenders(stack, theirs, peers, brokers))
        bursts: list[list[Run]] = [[] for _ in found]
        paced: list[list[Run]] = [[] for _ in found]
        for number in range(rounds):
            for place, (name, contender) in enumerate(found):
                progress("round %d of %d: %s" % (number + 1, rounds, name))
                with Server(contender, ours) as server, _open(server, users, theirs) as load:
                    _run(server, load, users, users * WARM_UP, 0.0)
                    bursts[place].append(_run(server, load, users, events, 0.0))
                    paced[place].append(_run(server, load, users, int(10 / pace), 1 / pace))
    head = ("%d users" % users, "µs CPU an event, burst of %d" % events, "arrived",
            "µs CPU an event, one every %g ms" % (pace * 1e3), "of nchan's", "median ms", "arrived")  # fmt: skip
    nchan = next((runs for (name, _), runs in zip(found, paced) if name == "nchan"), None)
    return table(head, [_make_row(name, *runs, nchan) for (name, _), *runs in zip(found, bursts, paced)])


def _list_contenders(
    stack: ExitStack, core: int, peers: Sequence[str], brokers: Sequence[str]
) -> list[tuple[str, Contender]]:
    found = []
    for name in peers:
        try:
            found.append((name, contenders.PEERS[name]()))
        except install.Missing as error:
            progress("%s is missing: %s" % (name, error))
    return [*found, *list_brokers(stack, brokers, core)]


def _open(server: Server, users: int, core: int) -> Load:
    contender = server.contender
    load = Load(server.port, contender.user_stream, core, first=contender.first, users=True)
    load.open(users)
    return load


def _run(server: Server, load: Load, users: int, events: int, rate: float) -> Run:
    idle = server.cpu()
    time.sleep(IDLE)
    idle = (server.cpu() - idle) / IDLE
    load.start()
    began, spent = time.monotonic(), server.cpu()
    server.publish(events, rate, users=users)
    came = load.wait(events, (events / rate if rate else 0.0) + LATE)
    seconds, spent = time.monotonic() - began, server.cpu() - spent
    latencies = [sample.seconds * 1e3 for sample in load.report().samples]
    return Run((spent - idle * seconds) / max(1, came) * 1e6, percentile(latencies, 0.5), came, events)


def _make_row(name: str, burst: list[Run], paced: list[Run], nchan: list[Run] | None) -> list[str]:
    ratio = median(one.cpu / other.cpu for one, other in zip(paced, nchan)) if nchan else 0.0
    return [
        name, spread([run.cpu for run in burst], "%.0f"), _count(burst),
        spread([run.cpu for run in paced], "%.0f"), "%.2f" % ratio if nchan else "",
        spread([run.latency for run in paced], "%.2f"), _count(paced),
    ]  # fmt: skip


def _count(runs: list[Run]) -> str:
    came, sent = sum(run.came for run in runs), sum(run.sent for run in runs)
    return "all" if came == sent else "%d of %d" % (came, sent)
