"""Measures what idle streams cost, and how long they are silent."""

from __future__ import annotations

import time

from . import process
from .client import Load
from .contenders import STREAM, flask_ssemux
from .servers import Server
from .table import percentile, progress, table

#: How many heartbeats to wait for. From the second one on, the heartbeats are spread over the interval.
BEATS = 2.5

#: Seconds that opening may take.
OPENING = 120.0


def measure_idle_streams(clients: int, heartbeat: float, broker: str, transport: str) -> str:
    """Return the table."""
    ours, theirs = process.choose_cores()
    contender = flask_ssemux(broker, transport, heartbeat=heartbeat, client_timeout=heartbeat * 6)
    with Server(contender, ours) as server, Load(server.port, STREAM, theirs, first=contender.first) as load:
        progress("opening %d streams" % clients)
        load.open(clients, OPENING)
        load.start()
        began, spent = time.monotonic(), server.cpu()
        progress("%g heartbeats of %g s" % (BEATS, heartbeat))
        time.sleep(BEATS * heartbeat)
        seconds, spent = time.monotonic() - began, server.cpu() - spent
        seen = load.report()
    head = (
        "idle streams",
        "transport",
        "broker",
        "heartbeat s",
        "silence p99 s",
        "silence max s",
        "% of a core",
        "closed",
    )
    row = (
        "%d" % clients, transport or "auto", broker, "%g" % heartbeat, "%.2f" % percentile(seen.silences, 0.99),
        "%.2f" % max(seen.silences or [0.0]), "%.2f" % (spent / seconds * 100), "%d" % seen.closed,
    )  # fmt: skip
    return table(head, [row])
