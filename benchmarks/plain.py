"""Measures how long an ordinary request takes while events go to many streams.

The requests are made on the core of the streams' client, and with a higher priority, so that they wait only for the
server.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import threading
import time
from statistics import median

from . import process
from .client import Load
from .contenders import STREAM, flask_ssemux
from .servers import Server
from .table import percentile, progress, table

#: Seconds between two requests. One second is not a multiple of it, so that the requests are made at all times
#: between two events.
PAUSE = 0.0137


def measure_requests(clients: int, events: int, rate: float, broker: str, transport: str) -> str:
    """Return the table."""
    ours, theirs = process.choose_cores()
    contender = flask_ssemux(broker, transport=transport)
    with Server(contender, ours) as server, Load(server.port, STREAM, theirs, first=contender.first) as load:
        for child in multiprocessing.active_children():
            os.setpriority(os.PRIO_PROCESS, child.pid or 0, 19)
        os.sched_setaffinity(0, {theirs})
        progress("opening %d streams" % clients)
        load.open(clients, 120.0)
        quiet = _make_requests(server.port, 2.0)
        load.start()
        server.publish(events, rate)
        progress("%d events, %g a second" % (events, rate))
        asked = _make_requests(server.port, events / rate)
        came = load.wait(clients * events, 20.0)
    head = ("%d streams, %d events, %g a second" % (clients, events, rate), "requests", "p50 ms", "p99 ms", "max ms")
    rows = [("before", *_row(quiet)), ("during the events, %s, %s" % (transport, broker), *_row(asked))]
    missed = "" if came == clients * events else "\n%d of %d deliveries arrived" % (came, clients * events)
    return table(head, rows) + missed


def _make_requests(port: int, seconds: float) -> list[float]:
    """Make one request after another, each on a connection of its own, and return how long each took, in ms."""
    took: list[float] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        asker = threading.Thread(
            target=_make_request, args=(port, took), daemon=True
        )  # a slow request does not delay the next one
        asker.start()
        time.sleep(PAUSE)
    asker.join(10.0)
    return took


def _make_request(port: int, took: list[float]) -> None:
    began = time.monotonic()
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asked.request("GET", "/ready")
        asked.getresponse().read()
    finally:
        asked.close()
    took.append((time.monotonic() - began) * 1e3)


def _row(took: list[float]) -> tuple[str, ...]:
    found = (median(took), percentile(took, 0.99), max(took))
    return ("%d" % len(took), *("%.1f" % value for value in found))
