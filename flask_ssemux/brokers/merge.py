"""The events of several channels in one order, read a part of each channel at a time.

A merge remembers where it is in each channel, so it reads nothing twice, and a page costs what it gives, however many
channels there are. What is read, and from where, is the caller's: a broker's history, or what streams share of it.
No streams, no clock, no lock: a merge is used by one caller at a time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import Callable, Dict, Iterable, Mapping

from .records import Page, Part, Range, Record

#: Events that one question asks for, over all its channels; and at least so many of each channel.
CHUNK, LEAST = 400, 8

#: Bytes of bodies that one question asks for, about.
CHUNK_BYTES = 256 * 1024

#: Channels in one question.
CHANNELS = 500

#: Answers as ``Broker.read_channels`` does.
Fetch = Callable[[Mapping[str, Range], int, int], Dict[str, Part]]


class Merge:
    """The events of these channels, each from its own place, oldest first.

    :param fetch: reads a part of each channel.
    :param ranges: where each channel begins and ends.
    :param mean: bytes of a body, about, as far as that is known.
    """

    def __init__(self, fetch: Fetch, ranges: Mapping[str, Range], mean: int = 0) -> None:
        self._fetch = fetch
        self.mean = mean
        self._branches = [_Branch(name, *places) for name, places in ranges.items()]
        self._heap = [(branch.key(), number) for number, branch in enumerate(self._branches) if not branch.is_over]
        heapify(self._heap)

    def page(self, limit: int, size: int) -> Page:
        """The next events: at most ``limit``, about ``size`` bytes of bodies, and one at least if there is one.

        It ends early at a channel of which events are missing; that channel goes on after them, unless it is dropped.

        :raises BrokerUnavailable: the store did not answer.
        """
        records: list[Record] = []
        missing: list[str] = []
        heap, branches = self._heap, self._branches
        while heap and not missing and len(records) < limit and size > 0:
            key, number = heap[0]
            if key & 1:  # what follows in this channel is not known yet
                missing = self._read_on()
                continue
            branch = branches[number]
            if len(heap) == 1:
                run = branch.take(limit - len(records), size)
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
                heapreplace(heap, (branch.key(), number))
            else:
                heappop(heap)
        return Page(records, missing, not heap)

    def drop(self, channels: Iterable[str]) -> None:
        """Leave out the rest of these channels."""
        dropped = set(channels)
        self._heap = [entry for entry in self._heap if self._branches[entry[1]].name not in dropped]
        heapify(self._heap)

    def places(self) -> dict[str, Range]:
        """What has not been given yet of each channel."""
        left = (self._branches[number] for _, number in self._heap)
        return {branch.name: Range(branch.place, branch.end) for branch in left}

    def _read_on(self) -> list[str]:
        """Read more of the channels that need it; those of which events are missing."""
        number_of_channels = len(self._heap)
        limit = max(1, min(max(LEAST, CHUNK // number_of_channels), self._room() // number_of_channels))
        asked = self._take_short()
        question = {branch.name: Range(branch.upto, branch.end) for branch, _ in asked}
        waiting = [(branch, number) for branch, number in asked if branch.index == len(branch.records)]
        try:
            parts = self._fetch(question, limit, CHUNK_BYTES)
            for branch, _ in asked:
                branch.extend(parts[branch.name])
        finally:
            for branch, number in waiting:
                if not branch.is_over:
                    heappush(self._heap, (branch.key(), number))
        self._weigh(parts)
        return [name for name, part in parts.items() if part.is_missing]

    def _take_short(self) -> list[tuple[_Branch, int]]:
        """The channels to read on, those first that are waited for, which leave the heap."""
        heap, most = self._heap, min(CHANNELS, self._room())
        short: list[tuple[_Branch, int]] = []
        while heap and heap[0][0] & 1 and len(short) < most:
            number = heappop(heap)[1]
            short.append((self._branches[number], number))
        if len(self._branches) <= CHANNELS:  # with many more, looking at all of them would cost more than it saves
            few = max(LEAST, CHUNK // len(self._branches)) // 2
            near = [(branch, number) for number, branch in enumerate(self._branches) if branch.is_short(few)]
            short += near[: most - len(short)]
        return short

    def _room(self) -> int:
        """How many events one answer has room for, as far as that can be told."""
        return max(1, CHUNK_BYTES // self.mean) if self.mean else CHANNELS * LEAST

    def _weigh(self, parts: Mapping[str, Part]) -> None:
        sizes = [len(record.body) for part in parts.values() for record in part.records]
        if sizes:
            self.mean = sum(sizes) // len(sizes) + 1


class _Branch:
    """Where a merge is in one channel: what was read and not given yet, and from where it is read on."""

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
    def place(self) -> int:
        """All events up to here were given."""
        return self.upto if self.index == len(self.records) else self.records[self.index].sequence - 1

    def key(self) -> int:
        """Twice the place of the next event; where that is not known, the odd number after the last known place."""
        if self.index < len(self.records):
            return 2 * self.records[self.index].sequence
        return 2 * self.upto + 1

    def take(self, limit: int, size: int) -> list[Record]:
        """The next events: at most so many, about so many bytes, one at least."""
        records, first = self.records, self.index
        last, most = first, min(len(records), first + limit)
        while last < most and (size > 0 or last == first):
            size -= len(records[last].body)
            last += 1
        self.index = last
        return records[first:last]

    def is_short(self, few: int) -> bool:
        """Whether there are some events left, but few, and more may come."""
        return 0 < len(self.records) - self.index < few and self.upto < self.end

    def extend(self, part: Part) -> None:
        self.records = self.records[self.index :] + part.records
        self.index = 0
        self.upto = part.upto
