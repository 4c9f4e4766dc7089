"""A day of coming and going in a few minutes: 200,000 connections against one worker, whose memory must not grow.

So many streams are open at any moment. One that has opened makes another leave, chosen by chance: half of them close
properly, half reset. Events go to all the while, so that streams leave with frames in their queues too.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from . import process
from .client import Load
from .contenders import STREAM, Contender
from .servers import Server
from .table import progress, table

#: Events a second, all the while.
RATE = 10.0

#: Rows of the table; and seconds between two looks.
ROWS, LOOK = 10, 0.25

#: Of all connections, those that come before memory counts: by then a worker has grown what it keeps for reuse.
GROWING = 0.2

#: Growth that is no leak: an allocator's, in KB.
NOISE = 1024

#: Seconds without a new connection after which something is wrong; seconds for the last to be noticed.
STUCK, NOTICED = 30.0, 5.0


class Look(NamedTuple):
    """One moment: connections so far; KB, open files and seconds of CPU of the server."""

    seconds: float
    connections: int
    memory: int
    files: int
    cpu: float


def measure(contender: Contender, connections: int, streams: int) -> str:
    """The table, and whether memory was flat.

    :param streams: open at a time.
    :raises RuntimeError: connections stopped coming.
    """
    ours, theirs = process.cores()
    with Server(contender, ours) as server, Load(
        server.port, STREAM, theirs, sampled=1_000_000, first=contender.first
    ) as load:
        looks = [_look(server, 0, time.monotonic())]
        server.publish(10_000_000, RATE)  # it ends with its server
        load.churn(connections, streams)
        looks += _looks(server, load, connections)
        seen = load.report()
        load.drop()
        time.sleep(NOTICED)
        looks.append(_look(server, connections, looks[0].seconds))
    head = ("connections", "a second", "MB", "open files", "µs CPU a connection")
    rows = _rows(looks, connections)
    told = (streams, seen.closed, seen.events)
    said = "%d streams at a time; %d were ended by the server; %d events were delivered" % told
    return "\n".join([table((contender.name, *head), rows), "", _verdict(looks, connections), "", said])


def _looks(server: Server, load: Load, connections: int) -> list[Look]:
    began = moved = time.monotonic()
    found: list[Look] = []
    while not found or found[-1].connections < connections:
        time.sleep(LOOK)
        found.append(_look(server, load.made(), began))
        if len(found) < 2 or found[-1].connections > found[-2].connections:
            moved = time.monotonic()
        elif time.monotonic() > moved + STUCK:
            told = (found[-1].connections, connections, STUCK)
            raise RuntimeError("%d of %d connections came, and none in the last %g s" % told)
        if len(found) % 20 == 0:
            progress(
                "%d connections, %.1f MB, %d files" % (found[-1].connections, found[-1].memory / 1e3, found[-1].files)
            )
    return found


def _look(server: Server, connections: int, began: float) -> Look:
    return Look(
        time.monotonic() - began, connections, process.memory(server.pid), process.files(server.pid), server.cpu()
    )


def _rows(looks: list[Look], connections: int) -> list[list[str]]:
    first, *during, last = looks
    chosen = [first]
    for number in range(1, ROWS + 1):
        chosen.append(next(look for look in during if look.connections >= connections * number // ROWS))
    rows = [["", *_cells(look, before)] for before, look in zip(chosen[:1] + chosen, chosen)]
    rows[0][0] = "before"
    return [*rows, ["all gone", *_cells(last, last)]]


def _cells(look: Look, before: Look) -> list[str]:
    made = look.connections - before.connections
    return [
        f"{look.connections:,}",
        f"{made / (look.seconds - before.seconds):,.0f}" if made else "-",
        "%.1f" % (look.memory / 1e3),
        "%d" % look.files,
        "%.0f" % ((look.cpu - before.cpu) / made * 1e6) if made else "-",
    ]


def _verdict(looks: list[Look], connections: int) -> str:
    """Whether memory grew from when it had grown to the end: by the line through it, which one peak does not move."""
    points = [(look.connections, look.memory) for look in looks[1:-1] if look.connections >= connections * GROWING]
    if len(points) < 3:
        return "too short to tell whether memory is flat"
    middle = [sum(column) / len(points) for column in zip(*points)]
    spread = sum((x - middle[0]) ** 2 for x, _ in points)
    slope = sum((x - middle[0]) * (y - middle[1]) for x, y in points) / spread if spread else 0.0
    growth = slope * connections * (1 - GROWING)
    told = (growth / 1e3, growth / (connections * (1 - GROWING)) * 1e3)
    said = "flat" if growth < NOISE else "NOT flat"
    return "memory: %s: %+.1f MB over the last 80 %% of the connections, %+.1f bytes for each" % (said, *told)
