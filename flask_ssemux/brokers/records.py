"""What a broker keeps, and the forms in which it is asked and answers. Values only."""

from __future__ import annotations

from typing import NamedTuple

from ..sse.encode import Cursor


class Record(NamedTuple):
    """An event as a broker keeps it.

    :param sequence: its place in the broker's order.
    :param channel: where it was published.
    :param body: its frame without the ``id``, as ``wire.body`` made it.
    :param latest: of the events of its channel with this key, only the newest is kept; None: it is kept beside others.
    """

    sequence: int
    channel: str
    body: bytes
    latest: str | None = None


class History(NamedTuple):
    """How much an engine keeps; the limit that is reached first counts.

    :param seconds: the age of an event.
    :param events: the events of each channel.
    :param size: the bytes of the bodies of all events of the store; the oldest go first.
    """

    seconds: float = 3600.0
    events: int = 10000
    size: int = 256 * 1024 * 1024


class Range(NamedTuple):
    """The events of a channel with ``after < sequence <= upto``."""

    after: int
    upto: int


class Part(NamedTuple):
    """What ``read_channels`` found of one channel.

    :param records: the oldest events of the range that was asked for, in order.
    :param upto: these are all events of the range up to this place; at its end there are no more.
    :param is_missing: whether events of the range are over a limit of the history. What is found comes after them.
    """

    records: list[Record]
    upto: int
    is_missing: bool


class Page(NamedTuple):
    """Events of several channels, in their order.

    :param records: the oldest events of the range asked for, in order.
    :param missing: the channels of which an event of that range is over a limit of the history.
    :param is_whole: whether there are surely no more in the range; else read on after the last.
    """

    records: list[Record]
    missing: list[str]
    is_whole: bool


class Floors(NamedTuple):
    """Up to which place the events of each channel are over a limit of the history.

    :param head: the newest event at that moment.
    :param of: by channel.
    """

    head: Cursor
    of: dict[str, int]


class Wanted(NamedTuple):
    """From where on channels are delivered, and what is kept of their latest events.

    :param place: all events after this one are delivered.
    :param latest: the newest event of each key of these channels, as of that place, in order.
    """

    place: int
    latest: list[Record]
