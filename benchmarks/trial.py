"""Measures one server under load: what its connections cost to open and to keep, and what a delivery costs.

The callers decide what is measured on which server, in which order and how often.
"""

from __future__ import annotations

import time
from statistics import median
from typing import NamedTuple

from . import event, process
from .client import NAP, Load
from .contenders import STREAM, Contender
from .servers import Server
from .table import percentile

#: Streams and events before anything is measured, so that everything that is created or compiled once exists.
WARM_UP, WARM_UP_EVENTS, WARM_UP_RATE = 50, 100, 50.0

#: Streams opened at a time if only Redis knows whether they are open.
BATCH = 64

#: Seconds in which an idle server's CPU time is measured, which is subtracted.
IDLE = 1.0

#: Seconds that the last delivery may be late, and that opening may take.
LATE, OPENING = 20.0, 120.0


class Opened(NamedTuple):
    """The µs of CPU time for each connection that was just opened, and the KB for each open connection."""

    cpu: float
    memory: float


class Delivered(NamedTuple):
    """µs of CPU a delivery, latency in ms (median and 99th percentile), and shares of a core of server and client.

    :param came: how many of the expected deliveries arrived.
    :param uneven: whether clients received different numbers of events.
    """

    cpu: float
    middle: float
    last: float
    came: int
    expected: int
    uneven: bool
    busy: float
    client: float

    def is_complete(self) -> bool:
        return self.came == self.expected and not self.uneven


class Trial:
    """A server and its clients. Leaving the ``with`` ends both.

    :raises RuntimeError: the server did not start.
    """

    def __init__(self, contender: Contender, nap: float = NAP) -> None:
        ours, theirs = process.choose_cores()
        self.server = Server(contender, ours)
        self._load = Load(self.server.port, STREAM, theirs, nap=nap, first=contender.first)
        self._streams = 0
        self._warm_up()
        self._empty = self.server.memory()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._load.__exit__()
        self.server.close()

    def open(self, streams: int) -> Opened:
        """Open this many more streams.

        :raises RuntimeError: not all of them opened.
        """
        spent = self.server.cpu()
        self._open(streams)
        spent = self.server.cpu() - spent
        self._streams += streams
        return Opened(spent / streams * 1e6, (self.server.memory() - self._empty) / self._streams)

    def deliver(self, events: int, rate: float, size: int = event.SIZE) -> Delivered:
        """Send events to each stream, at this rate, and measure."""
        idle, expected = self._measure_idle(), self._streams * events
        self._load.start()
        began, spent = time.monotonic(), self.server.cpu()
        self.server.publish(events, rate, size)
        self._load.wait(expected, events / rate + LATE)
        seconds, spent = time.monotonic() - began, self.server.cpu() - spent
        seen = self._load.report()
        latencies = [sample.seconds * 1e3 for sample in seen.samples]
        return Delivered(
            (spent - idle * seconds) / max(1, seen.events) * 1e6,
            median(latencies or [0.0]), percentile(latencies, 0.99),
            seen.events, expected, seen.fewest != seen.most, spent / seconds, seen.share,
        )  # fmt: skip

    def _open(self, streams: int) -> None:
        if self.server.contender.first:
            self._load.open(streams, OPENING)
            return
        deadline, wanted = time.monotonic() + OPENING, self.server.streams()
        for begun in range(0, streams, BATCH):
            self._load.connect(min(BATCH, streams - begun))
            wanted += min(BATCH, streams - begun)
            while self.server.streams() < wanted:
                if time.monotonic() > deadline:
                    raise RuntimeError("%d of %d streams opened in %g s" % (begun, streams, OPENING))
                time.sleep(0.005)

    def _warm_up(self) -> None:
        try:
            self._open(WARM_UP)
            self._load.start()
            self.server.publish(WARM_UP_EVENTS, WARM_UP_RATE)
            self._load.wait(WARM_UP * WARM_UP_EVENTS, WARM_UP_EVENTS / WARM_UP_RATE + LATE)
            self._load.drop()
            # Some servers notice that a client has left only at the second write.
            self.server.publish(4, WARM_UP_RATE)
            time.sleep(0.7)
        except BaseException:
            self.__exit__()
            raise

    def _measure_idle(self) -> float:
        """Return the share of a core that the idle server uses."""
        time.sleep(0.5)
        began, spent = time.monotonic(), self.server.cpu()
        time.sleep(IDLE)
        return (self.server.cpu() - spent) / (time.monotonic() - began)
