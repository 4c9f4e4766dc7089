"""The event that is measured: what publishers put into it and what the client reads out of it.

    data: <time.monotonic() at publish> <pid of the publisher> <padding>~

``~`` occurs once in an event and nowhere else in a response, so a client counts
events by counting one byte: no frame that is cut in two is missed or counted twice.
Everyone publishes the same data; what is framed around it is each contender's own.
"""

from __future__ import annotations

import os
import re
import time
from time import monotonic
from typing import Iterator

CHANNEL = "bench"
NAME = "tick"
MARK = b"~"

#: Bytes on the wire, chunk framing included, of one delivery of ours.
SIZE = 130

# What is around the data: `82\r\n`, `id: abcdefgh-123\n`, `event: tick\n`, `channel: bench\n`, `data: `, `\n\n\r\n`.
_AROUND = 4 + 17 + 12 + 15 + 6 + 4

# Some write no space after the colon, some make JSON of it.
_TOLD = re.compile(rb'data: ?"?([0-9.]+) ([0-9]+) ')


def data(size: int = SIZE) -> str:
    """The data of an event that is published now, so long that ours has this size on the wire."""
    told = "%.6f %d " % (monotonic(), os.getpid())
    return told.ljust(size - _AROUND - 1, ".") + "~"


def paced(events: int, rate: float, size: int = SIZE) -> Iterator[str]:
    """The data of so many events, each at its time."""
    start = monotonic()
    for number in range(events):
        time.sleep(max(0.0, start + number / rate - monotonic()))
        yield data(size)


def told(frame: bytes) -> tuple[float, int] | None:
    """When, and by which process, the event at the end of these bytes was published; None if there is none."""
    found = _TOLD.search(frame, frame.rfind(b"data:"))
    return (float(found[1]), int(found[2])) if found else None
