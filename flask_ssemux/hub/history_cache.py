"""The past that streams share: stretches of channels' history, whole from one place to another.

What one stream read of a channel's history, others do not read again. Bounded in bytes: what was used longest ago goes
first. Frames are in it as they go out, so a frame is in memory once for all who wait for it.
No broker, no streams, no clock, no lock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import Sequence

from ..brokers import ChannelPage, Range, Record

#: What an event takes besides its bytes, and a stretch besides its events, about.
OVERHEAD = 250

#: Bytes after which a stretch is not extended: what is used no more goes by stretches.
STRETCH_BYTES = 64 * 1024

#: Compared with a record of the same sequence, it is greater.
_LAST = "\U0010ffff"


class _Stretch:
    """All events of a channel with ``after < sequence <= upto``; of those with a key, the newest."""

    __slots__ = ("channel", "after", "upto", "records", "size", "is_used")

    def __init__(self, channel: str, after: int) -> None:
        self.channel = channel
        self.after = self.upto = after
        self.records: list[Record] = []
        self.size = OVERHEAD
        self.is_used = True

    def extend(self, records: Sequence[Record], upto: int) -> None:
        self.upto = upto
        replaced = {record.latest for record in records if record.latest is not None}
        if replaced:
            self.size -= sum(_weigh(record) for record in self.records if record.latest in replaced)
            self.records = [record for record in self.records if record.latest not in replaced]
        self.records.extend(records)
        self.size += sum(map(_weigh, records))

    def part(self, places: Range, limit: int) -> ChannelPage:
        """The oldest events of a range that begins here."""
        first = _position(self.records, places.after)
        last = _position(self.records, places.upto)
        if last - first > limit:
            records = self.records[first : first + limit]
            return ChannelPage(records, records[-1].sequence, False)
        return ChannelPage(self.records[first:last], min(self.upto, places.upto), False)


class HistoryCache:
    """Stretches of the history of one life.

    :param most: bytes that are kept, about.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        #: Of each channel, in their order; no two overlap.
        self._stretches: dict[str, list[_Stretch]] = {}
        #: The one that was used longest ago is the first.
        self._used: OrderedDict[_Stretch, None] = OrderedDict()
        #: Bytes that are kept, about.
        self.size = 0

    def begins_at(self, channel: str, place: int) -> bool:
        """Whether what follows this place is here, or some of it."""
        return self._at(channel, place) is not None

    def find(self, channel: str, places: Range, limit: int) -> ChannelPage | None:
        """The oldest events of a range, as far as they are here; None if what it begins with is not."""
        stretch = self._at(channel, places.after)
        if stretch is None:
            return None
        stretch.is_used = True
        self._used.move_to_end(stretch)
        return stretch.part(places, limit)

    def next_start(self, channel: str, after: int, upto: int) -> int:
        """Where the next stretch of a range begins, or the range's end."""
        stretches = self._stretches.get(channel, [])
        index = _index(stretches, after)
        return min(upto, stretches[index].after) if index < len(stretches) else upto

    def add(self, channel: str, after: int, part: ChannelPage) -> None:
        """Keep what was read of a channel from a place on: not more than up to where the next stretch begins."""
        if part.upto <= after:
            return
        stretches = self._stretches.setdefault(channel, [])
        index = _index(stretches, after)
        stretch = stretches[index - 1] if index else None
        if stretch is None or stretch.upto != after or stretch.size > STRETCH_BYTES:
            stretch = _Stretch(channel, after)
            stretches.insert(index, stretch)
            self.size += stretch.size
            index += 1
        before = stretch.size
        stretch.extend(part.records, part.upto)
        self.size += stretch.size - before
        self._used[stretch] = None
        self._used.move_to_end(stretch)
        self._join(stretches, index)
        self._make_room()

    def forget_unused(self) -> None:
        """Forget what was of no use since the last call."""
        for stretch in list(self._used):
            if stretch.is_used:
                stretch.is_used = False
            else:
                self._forget(stretch)

    def _at(self, channel: str, place: int) -> _Stretch | None:
        stretches = self._stretches.get(channel, [])
        index = _index(stretches, place)
        return stretches[index - 1] if index and stretches[index - 1].upto > place else None

    def _join(self, stretches: list[_Stretch], index: int) -> None:
        """Make one of two small stretches, where one ends and the next begins."""
        if index < len(stretches):
            stretch, follower = stretches[index - 1], stretches[index]
            if stretch.upto == follower.after and stretch.size + follower.size <= STRETCH_BYTES:
                self._forget(follower)
                before = stretch.size
                stretch.extend(follower.records, follower.upto)
                self.size += stretch.size - before

    def _make_room(self) -> None:
        while self.size > self._most and len(self._used) > 1:
            self._forget(next(iter(self._used)))

    def _forget(self, stretch: _Stretch) -> None:
        del self._used[stretch]
        self.size -= stretch.size
        stretches = self._stretches[stretch.channel]
        stretches.remove(stretch)
        if not stretches:
            del self._stretches[stretch.channel]


def _weigh(record: Record) -> int:
    return len(record.body) + OVERHEAD


def _position(records: Sequence[Record], place: int) -> int:
    """How many of them are up to this place."""
    return bisect_right(records, (place, _LAST))


def _index(stretches: Sequence[_Stretch], place: int) -> int:
    """How many of them begin up to this place."""
    low, high = 0, len(stretches)
    while low < high:
        middle = (low + high) // 2
        if stretches[middle].after <= place:
            low = middle + 1
        else:
            high = middle
    return low
