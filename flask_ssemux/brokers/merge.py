"""The events of several channels in one order, read a part of each channel at a time.

A merge remembers where it is in each channel, so it reads nothing twice, and the cost of a page follows its size,
however many channels there are. The caller chooses the source, such as the broker's history or the history cache. No
streams, no clock, no lock: a merge is used by one caller at a time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Callable, Dict, Iterable, Mapping

from .records import ChannelPage, Page, Range, Record

#: Events that one read asks for, over all its channels; and at least so many of each channel.
CHUNK, LEAST = 400, 8

#: Bytes of bodies that one read asks for, about.
CHUNK_BYTES = 256 * 1024

#: Channels in one read.
CHANNELS = 500

#: Reads as ``EventHistory.read_channels`` does.
Fetch = Callable[[Mapping[str, Range], int, int], Dict[str, ChannelPage]]


class Merge:
    """The events of these channels, each from its own sequence on, oldest first.

    :param fetch: reads a page of each channel.
    :param ranges: where each channel begins and ends.
    :param mean: the mean size of a body, in bytes, if it is known.
    """

    def __init__(self, fetch: Fetch, ranges: Mapping[str, Range], mean: int = 0) -> None:
        self._fetch = fetch
        self.mean = mean
        self._branches = [_Branch(name, *range_) for name, range_ in ranges.items()]
        self._heap = [(branch.make_key(), number) for number, branch in enumerate(self._branches) if not branch.is_over]
        heapify(self._heap)

    def read_page(self, limit: int, size: int) -> Page:
        """Return the next events: at most ``limit``, about ``size`` bytes of bodies, and at least one if there is one.

        The page ends early at a channel of which events are missing; the next page goes on after them, unless the
        channel is dropped.

        :raises BrokerUnavailable: the store did not answer.
        """
        records: list[Record] = []
        missing: list[str] = []
        heap, branches = self._heap, self._branches
        while heap and not missing and len(records) < limit and size > 0:
            key, number = heap[0]
            if key & 1:  # the next event of this channel is not known yet
                missing = self._read_on()
                continue
            branch = branches[number]
            if len(heap) == 1:
                run = branch.take_records(limit - len(records), size)
                records += run
                size -= sum([len(record.body) for record in run])
            else:
                record = branch.records[branch.index]
                records.append(record)
                size -= len(record.body)
                branch.index += 1
            if branch.index < len(branch.records):
                heapreplace(heap, (2 * branch.records[branch.index].sequence, number))
            elif branch.upto < branch.end:
                heapreplace(heap, (branch.make_key(), number))
            else:
                heappop(heap)
        return Page(records, missing, not heap)

    def drop_channels(self, channels: Iterable[str]) -> None:
        """Leave out the rest of these channels."""
        dropped = set(channels)
        self._heap = [entry for entry in self._heap if self._branches[entry[1]].name not in dropped]
        heapify(self._heap)

    def get_remaining(self) -> dict[str, Range]:
        """Return the range of each channel that was not returned yet."""
        left = (self._branches[number] for _, number in self._heap)
        return {branch.name: Range(branch.position, branch.end) for branch in left}

    def _read_on(self) -> list[str]:
        """Read more of the channels that need it; return those of which events are missing."""
        number_of_channels = len(self._heap)
        limit = max(1, min(max(LEAST, CHUNK // number_of_channels), self._estimate_room() // number_of_channels))
        chosen = self._take_short()
        ranges = {branch.name: Range(branch.upto, branch.end) for branch, _ in chosen}
        waiting = [(branch, number) for branch, number in chosen if branch.index == len(branch.records)]
        try:
            pages = self._fetch(ranges, limit, CHUNK_BYTES)
            for branch, _ in chosen:
                branch.extend(pages[branch.name])
        finally:
            for branch, number in waiting:
                if not branch.is_over:
                    heappush(self._heap, (branch.make_key(), number))
        self._update_mean(pages)
        return [name for name, page in pages.items() if page.is_missing]

    def _take_short(self) -> list[tuple[_Branch, int]]:
        """Return the channels to read; those that the next event waits for come first, and leave the heap."""
        heap, most = self._heap, min(CHANNELS, self._estimate_room())
        short: list[tuple[_Branch, int]] = []
        while heap and heap[0][0] & 1 and len(short) < most:
            number = heappop(heap)[1]
            short.append((self._branches[number], number))
        if len(self._branches) <= CHANNELS:  # with many more, looking at all of them would cost more than it saves
            few = max(LEAST, CHUNK // len(self._branches)) // 2
            near = [(branch, number) for number, branch in enumerate(self._branches) if branch.is_short(few)]
            short += near[: most - len(short)]
        return short

    def _estimate_room(self) -> int:
        """Return how many events one answer has room for, as far as that is known."""
        return max(1, CHUNK_BYTES // self.mean) if self.mean else CHANNELS * LEAST

    def _update_mean(self, pages: Mapping[str, ChannelPage]) -> None:
        sizes = [len(record.body) for page in pages.values() for record in page.records]
        if sizes:
            self.mean = sum(sizes) // len(sizes) + 1


class _Branch:
    """Where a merge is in one channel: what was read and not returned yet, and where the next read begins."""

    __slots__ = ("name", "records", "index", "upto", "end")

    def __init__(self, name: str, after: int, end: int) -> None:
        self.name = name
        self.records: list[Record] = []
        self.index = 0
        self.upto = after
        self.end = end

    @property
    def is_over(self) -> bool:
        return self.index == len(self.records) and self.upto >= self.end

    @property
    def position(self) -> int:
        """The sequence up to which all events were returned."""
        return self.upto if self.index == len(self.records) else self.records[self.index].sequence - 1

    def make_key(self) -> int:
        """Return twice the sequence of the next event; if it is not known, the odd number after the last known one."""
        if self.index < len(self.records):
            return 2 * self.records[self.index].sequence
        return 2 * self.upto + 1

    def take_records(self, limit: int, size: int) -> list[Record]:
        """Return the next events: at most so many, about so many bytes, at least one."""
        records, first = self.records, self.index
        last, most = first, min(len(records), first + limit)
        while last < most and (size > 0 or last == first):
            size -= len(records[last].body)
            last += 1
        self.index = last
        return records[first:last]

    def is_short(self, few: int) -> bool:
        """Return whether some events are left, but few, and more may be read."""
        return 0 < len(self.records) - self.index < few and self.upto < self.end

    def extend(self, page: ChannelPage) -> None:
        self.records = self.records[self.index :] + page.records
        self.index = 0
        self.upto = page.upto
