"""Opens and closes 200,000 connections to one worker, whose memory must not grow.

The number of open streams stays the same: when one opens, another one, chosen at random, ends. Half of them close
properly, and half reset the connection. Events go to all streams meanwhile, so that streams also end with frames in
their queues.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from . import process
from .client import Load
from .contenders import STREAM, Contender
from .servers import Server
from .table import progress, table

#: Events a second, during the whole measurement.
RATE = 10.0

#: Rows of the table, and seconds between two observations.
ROWS, PAUSE = 10, 0.25

#: The part of all connections after which memory is compared: by then a worker has allocated what it reuses.
GROWING = 0.2

#: Growth in KB that is not a leak, but due to the allocator.
NOISE = 1024

#: Seconds without a new connection after which the measurement fails; seconds until the last end is noticed.
STUCK, NOTICED = 30.0, 5.0


class Moment(NamedTuple):
    """One moment: the connections so far, and the server's memory in KB, open files and seconds of CPU time."""

    seconds: float
    connections: int
    memory: int
    files: int
    cpu: float


def measure_churn(contender: Contender, connections: int, streams: int) -> str:
    """Return the table, and whether the memory grew.

    :param streams: how many streams are open at a time.
    :raises RuntimeError: no more connections could be opened.
    """
    ours, theirs = process.choose_cores()
    with Server(contender, ours) as server, Load(
        server.port, STREAM, theirs, sampled=1_000_000, first=contender.first
    ) as load:
        moments = [_observe(server, 0, time.monotonic())]
        server.publish(10_000_000, RATE)  # it ends with its server
        load.churn(connections, streams)
        moments += _observe_all(server, load, connections)
        seen = load.report()
        load.drop()
        time.sleep(NOTICED)
        moments.append(_observe(server, connections, moments[0].seconds))
    head = ("connections", "a second", "MB", "open files", "µs CPU a connection")
    rows = _choose_rows(moments, connections)
    told = (streams, seen.closed, seen.events)
    said = "%d streams at a time; %d were ended by the server; %d events were delivered" % told
    return "\n".join([table((contender.name, *head), rows), "", _judge_growth(moments, connections), "", said])


def _observe_all(server: Server, load: Load, connections: int) -> list[Moment]:
    began = moved = time.monotonic()
    found: list[Moment] = []
    while not found or found[-1].connections < connections:
        time.sleep(PAUSE)
        found.append(_observe(server, load.made(), began))
        if len(found) < 2 or found[-1].connections > found[-2].connections:
            moved = time.monotonic()
        elif time.monotonic() > moved + STUCK:
            told = (found[-1].connections, connections, STUCK)
            raise RuntimeError("%d of %d connections opened, and none in the last %g s" % told)
        if len(found) % 20 == 0:
            progress(
                "%d connections, %.1f MB, %d files" % (found[-1].connections, found[-1].memory / 1e3, found[-1].files)
            )
    return found


def _observe(server: Server, connections: int, began: float) -> Moment:
    return Moment(
        time.monotonic() - began,
        connections,
        process.read_memory(server.pid),
        process.count_files(server.pid),
        server.cpu(),
    )


def _choose_rows(moments: list[Moment], connections: int) -> list[list[str]]:
    first, *during, last = moments
    chosen = [first]
    for number in range(1, ROWS + 1):
        chosen.append(next(moment for moment in during if moment.connections >= connections * number // ROWS))
    rows = [["", *_format_cells(moment, before)] for before, moment in zip(chosen[:1] + chosen, chosen)]
    rows[0][0] = "before"
    return [*rows, ["all gone", *_format_cells(last, last)]]


def _format_cells(moment: Moment, before: Moment) -> list[str]:
    made = moment.connections - before.connections
    return [
        f"{moment.connections:,}",
        f"{made / (moment.seconds - before.seconds):,.0f}" if made else "-",
        "%.1f" % (moment.memory / 1e3),
        "%d" % moment.files,
        "%.0f" % ((moment.cpu - before.cpu) / made * 1e6) if made else "-",
    ]


def _judge_growth(moments: list[Moment], connections: int) -> str:
    """Say whether the memory grew after the first connections, by a regression line, which ignores a single peak."""
    points = [
        (moment.connections, moment.memory) for moment in moments[1:-1] if moment.connections >= connections * GROWING
    ]
    if len(points) < 3:
        return "the run was too short to tell whether the memory grew"
    middle = [sum(column) / len(points) for column in zip(*points)]
    spread = sum((x - middle[0]) ** 2 for x, _ in points)
    slope = sum((x - middle[0]) * (y - middle[1]) for x, y in points) / spread if spread else 0.0
    growth = slope * connections * (1 - GROWING)
    told = (growth / 1e3, growth / (connections * (1 - GROWING)) * 1e3)
    said = "did not grow" if growth < NOISE else "GREW"
    return "the memory %s: %+.1f MB over the last 80 %% of the connections, %+.1f bytes for each" % (said, *told)
