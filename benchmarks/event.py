"""The event that is measured: what publishers put into it and what the client reads out of it.

    data: <time.monotonic() at publish> <pid of the publisher> <padding>~

``~`` occurs once in an event and nowhere else in a response, so a client counts
events by counting one byte: no frame that is cut in two is missed or counted twice.
"""

from __future__ import annotations

import os
from time import monotonic

CHANNEL = "bench"
NAME = "tick"
MARK = b"~"

#: Bytes on the wire, chunk framing included, of one delivery.
SIZE = 130

# What is around the data: `82\r\n`, `id: abcdefgh-123\n`, `event: tick\n`, `channel: bench\n`, `data: `, `\n\n\r\n`.
_AROUND = 4 + 17 + 12 + 15 + 6 + 4


def data() -> str:
    """The data of an event that is published now."""
    told = "%.6f %d " % (monotonic(), os.getpid())
    return told.ljust(SIZE - _AROUND - 1, ".") + "~"


def told(frame: bytes) -> tuple[float, int]:
    """When, and by which process, the event at the end of these bytes was published."""
    words = frame[frame.rindex(b"data: ") + 6 :].split(b" ", 2)
    return float(words[0]), int(words[1])
