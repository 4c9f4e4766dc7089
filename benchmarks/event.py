"""The event that is measured: its data, and how the client reads it.

    data: <time.monotonic() at publish> <pid of the publisher> <padding>~

``~`` occurs once in an event and nowhere else in a response, so a client counts events by counting this byte. It
neither misses nor counts twice a frame that arrives in two parts. All servers publish the same data, and
each adds its own framing.
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

#: The bytes that flask_ssemux sends for one event, including chunk framing.
SIZE = 130

#: Seconds between two events whose appending is timed.
APPEND_PAUSE = 0.005

# The framing: `82\r\n`, `event: tick\n`, `channel: bench\n`, `data: `, `\nid: abcdefgh-123`, `\n\n\r\n`.
_AROUND = 4 + 17 + 12 + 15 + 6 + 4

# Some servers write no space after the colon, some encode the data as JSON.
_ORIGIN = re.compile(rb'data: ?"?([0-9.]+) ([0-9]+) ')


def make_data(size: int = SIZE) -> str:
    """Return the data of an event that is published now, with this size on the wire if flask_ssemux sends it."""
    origin = "%.6f %d " % (monotonic(), os.getpid())
    return origin.ljust(size - _AROUND - 1, ".") + "~"


def yield_paced(events: int, rate: float, size: int = SIZE) -> Iterator[str]:
    """Yield the data of this many events, each at its time; all at once if the rate is 0."""
    start = monotonic()
    for number in range(events):
        if rate:
            time.sleep(max(0.0, start + number / rate - monotonic()))
        yield make_data(size)


def name_user(number: int) -> str:
    """Return the name of a stream's user. The streams are numbered from 0."""
    return "u%d" % number


def read_origin(frame: bytes) -> tuple[float, int] | None:
    """Return when and by which process the event at the end of these bytes was published; None without an event."""
    found = _ORIGIN.search(frame, frame.rfind(b"data:"))
    return (float(found[1]), int(found[2])) if found else None
