"""The latest events of the channels that have streams in this process: the newest event of each channel and key.

The broker tells them once, when a channel is subscribed, and each delivered event updates them. So a new stream costs
no question to the broker. As many are kept, and for as long, as the history keeps. The caller holds a lock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Callable, Iterable, Tuple

from ..brokers import Record

#: When the event came, and the event.
Entry = Tuple[float, Record]


class LatestEvents:
    """The newest events by channel and key.

    :param events: the maximum number of events of a channel.
    :param seconds: how long an event is kept.
    """

    def __init__(
        self, events: int = 10_000, seconds: float = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._events = events
        self._seconds = seconds
        self._clock = clock
        #: The latest events of each channel that has some, by their key.
        self.kept: dict[str, OrderedDict[str, Entry]] = {}

    def add_record(self, record: Record) -> None:
        """Keep an event that has a key, if it is newer than the kept one."""
        if record.latest_key is None:
            return
        keys = self.kept.setdefault(record.channel, OrderedDict())
        known = keys.get(record.latest_key)
        if known is None or known[1].sequence < record.sequence:
            keys[record.latest_key] = self._clock(), record
            keys.move_to_end(record.latest_key)
            self._trim(keys)

    def list_records(self, channels: Iterable[str]) -> list[Record]:
        """Return the events of these channels, in the order of their sequence."""
        found: list[Record] = []
        for channel in channels:
            keys = self.kept.get(channel)
            if keys is not None:
                self._trim(keys)
                found += [record for _, record in keys.values()]
        return sorted(found)

    def forget_channel(self, channel: str) -> None:
        self.kept.pop(channel, None)

    def forget_all(self) -> None:
        self.kept.clear()

    def _trim(self, keys: OrderedDict[str, Entry]) -> None:
        """Remove what the history no longer has."""
        oldest = self._clock() - self._seconds
        while keys and (len(keys) > self._events or next(iter(keys.values()))[0] < oldest):
            keys.popitem(last=False)
