"""The history of the memory broker: what is kept, where its limits are, and what has yet to be delivered.

No lock, no thread, no clock: the broker has them. Every method costs what it finds, not what was ever there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque
from typing import Iterator

from . import base
from .base import History, Part, Record

#: Events delivered at a time.
BATCH = 500

#: Floors kept of channels that have no event left; the lowest half goes at more.
FLOORS = 100_000

#: Bytes that are kept for delivery at least, however small the history.
LIVE_BYTES_LEAST = 1024 * 1024


class MemoryHistory:
    """Events in their order. What is over a limit leaves the history at once, and stays for delivery for a while."""

    def __init__(self) -> None:
        self.sequence = 0
        #: When each event came, the oldest first: of the application's channels, and of the extension's own.
        self._ages: tuple[OrderedDict[int, tuple[float, str]], OrderedDict[int, tuple[float, str]]]
        self._ages = OrderedDict(), OrderedDict()
        self._of: dict[str, list[Record]] = {}
        self._latest: dict[str, dict[str, Record]] = {}
        self._floors: dict[str, int] = {}
        #: The floor of every channel that is in neither of the two.
        self._forgotten = 0
        self._size = 0
        #: What may have yet to be delivered, and the newest that is no longer there.
        self._recent: deque[tuple[float, Record]] = deque()
        self._recent_size = self._gone = 0

    def append(self, channel: str, body: bytes, latest: str | None, limits: History, now: float) -> None:
        self.sequence += 1
        record = Record(self.sequence, channel, body, latest)
        if self._forgotten and channel not in self._of:
            self._floors.setdefault(channel, self._forgotten)
        self._of.setdefault(channel, []).append(record)
        self._ages[base.is_own(channel)][record.sequence] = now, channel
        self._size += 0 if base.is_own(channel) else len(body)
        if latest is not None:
            self._supersede(record, latest)
        self.trim(limits, now)
        self._trim_channel(channel, limits)
        self._keep_recent(record, limits, now)

    # -- reading -----------------------------------------------------------

    def floor_of(self, channel: str, limits: History) -> int:
        """The newest event of a channel that is over a limit; 0 where none is. After ``trim``."""
        self._trim_channel(channel, limits)
        return self._floors.get(channel, 0 if channel in self._of else self._forgotten)

    def read_part(self, channel: str, after: int, upto: int, limit: int, size: int, is_first: bool) -> Part:
        """The oldest events of one channel in a range, as ``read_channels`` gives them."""
        kept, records = self._of.get(channel, []), []  # type: list[Record], list[Record]
        for index in range(_index_after(kept, after), len(kept)):
            record = kept[index]
            if record.sequence > upto:
                break
            if len(records) == limit or (size <= 0 and not (is_first and not records)):
                return Part(records, record.sequence - 1, False)
            records.append(record)
            size -= len(record.body)
        return Part(records, max(upto, after), False)

    def latest_of(self, channel: str, limits: History) -> list[Record]:
        self._trim_channel(channel, limits)
        return list(self._latest.get(channel, {}).values())

    def figures(self) -> dict[str, object]:
        return {"events": sum(map(len, self._ages)), "channels": len(self._of)}

    # -- delivery ----------------------------------------------------------

    def news(self, after: int) -> tuple[list[Record], list[str] | None]:
        """What was appended after a place; and channels of which a part of it is no longer there, None: any may be."""
        found: deque[Record] = deque()
        for _, record in reversed(self._recent):
            if record.sequence <= after:
                break
            if not self._is_superseded(record):
                found.appendleft(record)
        if self._gone <= after:
            return [found[index] for index in range(min(BATCH, len(found)))], []
        lost = [name for name, floor in self._floors.items() if floor > after] if self._forgotten <= after else None
        return sorted(self._kept_between(after, self._gone)) + list(found), lost

    def _kept_between(self, after: int, upto: int) -> Iterator[Record]:
        for kept in self._of.values():
            for record in kept[_index_after(kept, after) :]:
                if record.sequence <= upto:
                    yield record

    def _is_superseded(self, record: Record) -> bool:
        if record.latest is None:
            return False
        newest = self._latest.get(record.channel, {}).get(record.latest)
        return newest is not None and newest.sequence > record.sequence

    def _keep_recent(self, record: Record, limits: History, now: float) -> None:
        recent, most = self._recent, max(LIVE_BYTES_LEAST, min(base.LIVE_BYTES, limits.size))
        recent.append((now, record))
        self._recent_size += len(record.body)
        while len(recent) > 1 and (
            (len(recent) > base.LIVE_EVENTS and now - recent[0][0] >= base.LIVE_SECONDS) or self._recent_size > most
        ):
            gone = recent.popleft()[1]
            self._gone = gone.sequence
            self._recent_size -= len(gone.body)

    # -- trimming ----------------------------------------------------------

    def trim(self, limits: History, now: float) -> None:
        """By age and by bytes, the oldest first; the newest event stays."""
        ages, own = self._ages
        self._trim_old(ages, now - limits.seconds)
        self._trim_old(own, now - max(base.OWN_SECONDS, limits.seconds))
        while self._size > limits.size and len(ages) > 1:
            self._forget(ages[next(iter(ages))][1])
        if len(self._floors) > FLOORS + len(self._of):
            self._forget_floors()

    def _trim_old(self, ages: OrderedDict[int, tuple[float, str]], before: float) -> None:
        while ages:
            sequence = next(iter(ages))
            at, channel = ages[sequence]
            if at >= before or sequence == self.sequence:
                break
            self._forget(channel)

    def _trim_channel(self, channel: str, limits: History) -> None:
        most = base.OWN_EVENTS if base.is_own(channel) else limits.events
        for _ in range(len(self._of.get(channel, ())) - most):
            self._forget(channel)

    def _forget(self, channel: str) -> None:
        """The oldest event of a channel leaves the history."""
        record = self._of[channel][0]
        self._drop(record, 0)
        self._floors[channel] = record.sequence
        keys = self._latest.get(channel, {})
        if record.latest is not None and keys.get(record.latest) is record:
            del keys[record.latest]
            if not keys:
                del self._latest[channel]

    def _supersede(self, record: Record, latest: str) -> None:
        keys: dict[str, Record] = self._latest.setdefault(record.channel, {})
        before, keys[latest] = keys.get(latest), record
        if before is not None:
            self._drop(before, _index_after(self._of[record.channel], before.sequence - 1))

    def _drop(self, record: Record, index: int) -> None:
        kept, is_own = self._of[record.channel], base.is_own(record.channel)
        del kept[index]
        if not kept:
            del self._of[record.channel]
        del self._ages[is_own][record.sequence]
        self._size -= 0 if is_own else len(record.body)

    def _forget_floors(self) -> None:
        empty = sorted((floor, name) for name, floor in self._floors.items() if name not in self._of)
        for floor, name in empty[: len(empty) // 2]:
            self._forgotten = max(self._forgotten, floor)
            del self._floors[name]


def _index_after(kept: list[Record], sequence: int) -> int:
    return bisect_left(kept, (sequence + 1,))
