"""Reads the history of the Redis broker: a page of each channel, and which channels have new events."""

from __future__ import annotations

import itertools
from typing import Any, Mapping, Sequence

from ...errors import BrokerBehind
from ..records import ChannelPage, Range, Record
from . import scripts
from .scripts import Script
from .store import RedisStore

#: Channels in one answer of ``list_news``.
NEWS = 1000


def read_channels(
    store: RedisStore, script: Script, expected: str, ranges: Mapping[str, Range], limit: int, size: int
) -> dict[str, ChannelPage]:
    """See ``EventHistory.read_channels``.

    :param script: ``READ_CHANNELS``; or ``READ_LIVE``, which also reads what is over a limit and still kept.
    :param expected: the epoch that the ranges are of; "" if it is not known.
    :raises BrokerBehind: the answer is of another epoch.
    """
    names = list(ranges)
    values = itertools.chain.from_iterable((name, *ranges[name]) for name in names)
    answer = store.read(script, limit, size, *values)
    epoch = store.note_answer(answer).epoch
    if expected and epoch != expected:
        raise BrokerBehind("the Redis store %s: its history began anew" % store.address.shown)
    records: dict[str, list[Record]] = {name: [] for name in names}
    for record in parse_records(answer[2], names):
        records[record.channel].append(record)
    ends = iter(answer[3])
    return {name: ChannelPage(records[name], int(upto), bool(gone)) for name, upto, gone in zip(names, ends, ends)}


def list_news(store: RedisStore, after: int) -> set[str] | None:
    """Return the channels that have events after a sequence; None if the store does not know.

    :raises BrokerUnavailable: the store did not answer in time.
    """
    found: set[str] = set()
    begin = after
    while True:
        answer = store.read(scripts.LIST_NEWS, after, begin, NEWS)
        if not answer[2]:
            return None
        found.update(name.decode("utf-8") for name in answer[3][::2])
        if len(answer[3]) < 2 * NEWS:
            return found
        begin = int(answer[3][-1])


def parse_records(rows: Sequence[Any], channels: Sequence[str]) -> list[Record]:
    """Return events of a script's answer, which has for each, in one list, its channel's number, sequence, body,
    key."""
    values = iter(rows)
    return [
        Record(int(sequence), channels[channel], body, key.decode("utf-8") or None)
        for channel, sequence, body, key in zip(values, values, values, values)
    ]
