"""The values that brokers take and return. No behaviour."""

from __future__ import annotations

from typing import NamedTuple

from ..sse.cursor import Cursor
from ..sse.encode import OWN_PREFIX


class NewEvent(NamedTuple):
    """An event that is about to be appended.

    :param channel: where it is published.
    :param body: its frame without the ``id``, as ``sse.encode.make_body`` made it.
    :param latest_key: the key of a latest event; None for an ordinary event.
    """

    channel: str
    body: bytes
    latest_key: str | None = None


class Record(NamedTuple):
    """An event as a broker keeps it.

    :param sequence: its number in the broker's order.
    :param channel: where it was published.
    :param body: its frame without the ``id``, as ``sse.encode.make_body`` made it.
    :param latest_key: the key of a latest event: of its channel's events with this key only the newest is kept. None
        for an ordinary event.
    """

    sequence: int
    channel: str
    body: bytes
    latest_key: str | None = None


class HistoryLimits(NamedTuple):
    """How much an engine keeps; the limit that is reached first counts.

    :param seconds: the age of an event.
    :param events: the events of each channel.
    :param size: the bytes of the bodies of all events of the store; the oldest are trimmed first.
    """

    seconds: float = 3600.0
    events: int = 10000
    size: int = 256 * 1024 * 1024


class Range(NamedTuple):
    """The events of a channel with ``after < sequence <= upto``."""

    after: int
    upto: int


class ChannelPage(NamedTuple):
    """What ``read_channels`` found of one channel.

    :param records: the oldest events of the range that was asked for, in order.
    :param upto: the records are all events of the range up to this sequence; at the range's end there are no more.
    :param is_missing: whether events of the range are over a limit of the history. The records come after them.
    """

    records: list[Record]
    upto: int
    is_missing: bool


class Page(NamedTuple):
    """Events of several channels, in their order.

    :param records: the oldest events of the range that was asked for, in order.
    :param missing: the channels of which an event of that range is over a limit of the history.
    :param is_whole: whether the range has certainly no more events; otherwise the caller reads on after the last
        record.
    """

    records: list[Record]
    missing: list[str]
    is_whole: bool


class Floors(NamedTuple):
    """The floor of each channel: the sequence up to which its events are over a limit of the history.

    :param newest: the newest cursor at that moment.
    :param by_channel: 0 for a channel without a floor.
    """

    newest: Cursor
    by_channel: dict[str, int]


class SubscriptionStart(NamedTuple):
    """From where on subscribed channels are delivered, and their latest events at that point.

    :param after: all events after this sequence are delivered.
    :param latest: the newest event of each key of these channels, as of that sequence, in order.
    """

    after: int
    latest: list[Record]


def is_own_channel(channel: str) -> bool:
    """Return whether this is one of the extension's own channels, which have limits of their own."""
    return channel.startswith(OWN_PREFIX)
