"""The latest events of the channels that a process has: of each channel and key the newest.

Told once by the broker when a channel is wanted, and kept up to date by what is delivered, so that a new
subscriber costs no question. As many and for as long as the history keeps them. No lock of its own: the mux holds its
own. No streams, no frames.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import Callable, Iterable, Tuple

from ..brokers import Record

#: When it came, and the event.
Entry = Tuple[float, Record]


class Latest:
    """By channel and key.

    :param events: kept of each channel.
    :param seconds: for which one is kept.
    """

    def __init__(
        self, events: int = 10_000, seconds: float = 3600.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._events = events
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[str, OrderedDict[str, Entry]] = {}

    def note(self, record: Record) -> None:
        """Keep it, if it is one of a key and newer than what is kept."""
        if record.latest is None:
            return
        keys = self._kept.setdefault(record.channel, OrderedDict())
        known = keys.get(record.latest)
        if known is None or known[1].sequence < record.sequence:
            keys[record.latest] = self._clock(), record
            keys.move_to_end(record.latest)
            self._trim(keys)

    def of(self, channels: Iterable[str]) -> list[Record]:
        """Those of these channels, in their order."""
        found: list[Record] = []
        for channel in channels:
            keys = self._kept.get(channel)
            if keys is not None:
                self._trim(keys)
                found += [record for _, record in keys.values()]
        return sorted(found)

    def _trim(self, keys: OrderedDict[str, Entry]) -> None:
        """Forget what the history no longer has."""
        oldest = self._clock() - self._seconds
        while keys and (len(keys) > self._events or next(iter(keys.values()))[0] < oldest):
            keys.popitem(last=False)

    def forget(self, channel: str) -> None:
        self._kept.pop(channel, None)

    def forget_all(self) -> None:
        self._kept.clear()
