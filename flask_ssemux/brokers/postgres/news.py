"""What a notification says of an event: ``make_news`` in ``sql/append.sql`` writes it. No connection, no delivery.

A small event's body is in its notification, so a worker whose clients read the channel need not ask for it.
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from ..records import Record

#: Bytes of a body, and of a channel's name, up to which the body is in the notification. All workers get the
#: notification, also those without a reader, and PostgreSQL takes 8000 bytes.
SMALL = 1000


class News(NamedTuple):
    """One event.

    :param size: bytes of its body.
    :param packed: the body in Base64; "" if it is to be read.
    """

    epoch: str
    sequence: int
    size: int
    channel: str
    packed: str

    def make_record(self) -> Record:
        """Return the event. It replaces no other: the body of one that does is read with its key."""
        return Record(self.sequence, self.channel, base64.b64decode(self.packed), None)


def parse_news(text: str) -> News:
    """Read a notification: "epoch sequence size length channel", where the channel has so many characters, and the
    body follows."""
    epoch, sequence, size, length, rest = text.split(" ", 4)
    return News(epoch, int(sequence), int(size), rest[: int(length)], rest[int(length) :])
