"""The part of the history that streams share: stretches of channels' events, each complete between two sequences.

What was read for one stream is not read again for others. The cache is bounded in bytes: the stretch that was used
longest ago is removed first. Its events are frames as they go out, so that a frame is in memory once for all clients
that wait for it. No broker, no streams, no clock, no lock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import Sequence

from ..brokers import ChannelPage, Range, Record

#: About how many bytes an event takes besides its frame, and a stretch besides its events.
OVERHEAD = 250

#: A stretch of so many bytes is not extended: unused events are removed by whole stretches.
STRETCH_BYTES = 64 * 1024

#: Compared with a record of the same sequence, it is greater.
_LAST = "\U0010ffff"


class _Stretch:
    """All events of a channel with ``after < sequence <= upto``; of events with a key, only the newest."""

    __slots__ = ("channel", "after", "upto", "records", "size", "is_used")

    def __init__(self, channel: str, after: int) -> None:
        self.channel = channel
        self.after = self.upto = after
        self.records: list[Record] = []
        self.size = OVERHEAD
        self.is_used = True

    def extend(self, records: Sequence[Record], upto: int) -> None:
        self.upto = upto
        replaced = {record.latest_key for record in records if record.latest_key is not None}
        if replaced:
            self.size -= sum(_get_size(record) for record in self.records if record.latest_key in replaced)
            self.records = [record for record in self.records if record.latest_key not in replaced]
        self.records.extend(records)
        self.size += sum(map(_get_size, records))

    def get_part(self, bounds: Range, limit: int) -> ChannelPage:
        """Return the oldest events of a range that begins in this stretch."""
        first = _count_records(self.records, bounds.after)
        last = _count_records(self.records, bounds.upto)
        if last - first > limit:
            records = self.records[first : first + limit]
            return ChannelPage(records, records[-1].sequence, False)
        return ChannelPage(self.records[first:last], min(self.upto, bounds.upto), False)


class HistoryCache:
    """Stretches of the history of one epoch.

    :param max_bytes: about how many bytes are kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        #: The stretches of each channel, in the order of their sequences. No two overlap.
        self._stretches: dict[str, list[_Stretch]] = {}
        #: The stretch that was used longest ago is the first.
        self._used: OrderedDict[_Stretch, None] = OrderedDict()
        #: About how many bytes are kept now.
        self.size = 0

    def has_start(self, channel: str, after: int) -> bool:
        """Return whether events of the channel that follow this sequence are kept."""
        return self._find_stretch(channel, after) is not None

    def find_part(self, channel: str, bounds: Range, limit: int) -> ChannelPage | None:
        """Return the oldest events of a range, as far as they are kept; None if its beginning is not kept."""
        stretch = self._find_stretch(channel, bounds.after)
        if stretch is None:
            return None
        stretch.is_used = True
        self._used.move_to_end(stretch)
        return stretch.get_part(bounds, limit)

    def find_next_start(self, channel: str, after: int, upto: int) -> int:
        """Return where the next stretch within a range begins; if there is none, the end of the range."""
        stretches = self._stretches.get(channel, [])
        index = _count_stretches(stretches, after)
        return min(upto, stretches[index].after) if index < len(stretches) else upto

    def add_part(self, channel: str, after: int, part: ChannelPage) -> None:
        """Keep what was read of a channel after a sequence. It must not reach into the next stretch."""
        if part.upto <= after:
            return
        stretches = self._stretches.setdefault(channel, [])
        index = _count_stretches(stretches, after)
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
        self._merge_with_next(stretches, index)
        self._make_room()

    def forget_unused(self) -> None:
        """Remove the stretches that were not used since the last call."""
        for stretch in list(self._used):
            if stretch.is_used:
                stretch.is_used = False
            else:
                self._remove_stretch(stretch)

    def _find_stretch(self, channel: str, after: int) -> _Stretch | None:
        stretches = self._stretches.get(channel, [])
        index = _count_stretches(stretches, after)
        return stretches[index - 1] if index and stretches[index - 1].upto > after else None

    def _merge_with_next(self, stretches: list[_Stretch], index: int) -> None:
        """Make one stretch of two small ones, if the second begins where the first ends."""
        if index < len(stretches):
            stretch, following = stretches[index - 1], stretches[index]
            if stretch.upto == following.after and stretch.size + following.size <= STRETCH_BYTES:
                self._remove_stretch(following)
                before = stretch.size
                stretch.extend(following.records, following.upto)
                self.size += stretch.size - before

    def _make_room(self) -> None:
        while self.size > self._max_bytes and len(self._used) > 1:
            self._remove_stretch(next(iter(self._used)))

    def _remove_stretch(self, stretch: _Stretch) -> None:
        del self._used[stretch]
        self.size -= stretch.size
        stretches = self._stretches[stretch.channel]
        stretches.remove(stretch)
        if not stretches:
            del self._stretches[stretch.channel]


def _get_size(record: Record) -> int:
    return len(record.body) + OVERHEAD


def _count_records(records: Sequence[Record], upto: int) -> int:
    """Return how many of the records have sequences up to this one."""
    return bisect_right(records, (upto, _LAST))


def _count_stretches(stretches: Sequence[_Stretch], upto: int) -> int:
    """Return how many of the stretches begin at sequences up to this one."""
    low, high = 0, len(stretches)
    while low < high:
        middle = (low + high) // 2
        if stretches[middle].after <= upto:
            low = middle + 1
        else:
            high = middle
    return low
