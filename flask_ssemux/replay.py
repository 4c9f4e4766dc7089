"""The past that streams share: what one of them read of a channel's history, others do not read again.

After a deploy all clients of a worker come back at once, and ask for about the same. Of each channel
stretches of its history are kept for a short while, whole from one place to another, and only what lies
between them is asked of the broker, by one caller at a time. Bounded in bytes and in age. No streams, no clock.
"""

from __future__ import annotations

import heapq
import sys
import threading
from bisect import bisect_right
from itertools import islice
from typing import Iterable, Iterator, NamedTuple, Sequence

from .brokers import Broker, Page, Record
from .brokers.base import within

#: Events asked of the broker at a time.
CHUNK = 200

#: Bytes after which a page ends, whatever it was asked for.
PAGE_BYTES = 1024 * 1024

#: Bytes that are kept, about: with more, all is forgotten; and what an event takes besides its body.
BYTES = 32 * 1024 * 1024
OVERHEAD = 250

#: Seconds after which what was of no use meanwhile is forgotten.
SECONDS = 10.0


class _Stretch:
    """All events of a channel with ``after < sequence <= upto``; of those with a key, the newest."""

    __slots__ = ("after", "upto", "sequences", "records", "size", "used")

    def __init__(self, after: int) -> None:
        self.after = self.upto = after
        self.sequences: list[int] = []
        self.records: list[Record] = []
        self.size = OVERHEAD
        self.used = True

    def extend(self, records: Sequence[Record], upto: int) -> None:
        self.upto = upto
        replaced = {record.latest for record in records if record.latest is not None}
        if replaced:
            self._drop(replaced)
        self.records.extend(records)
        self.sequences.extend(record.sequence for record in records)
        self.size += sum(len(record.body) + OVERHEAD for record in records)

    def _drop(self, latest: set[str]) -> None:
        """Events of these keys have newer ones."""
        self.size -= sum(len(record.body) + OVERHEAD for record in self.records if record.latest in latest)
        self.records = [record for record in self.records if record.latest not in latest]
        self.sequences = [record.sequence for record in self.records]

    def since(self, after: int) -> Iterator[Record]:
        return islice(self.records, bisect_right(self.sequences, after), None)


class _Need(NamedTuple):
    """What is not here: events of these channels with ``after < sequence <= upto``."""

    channels: list[str]
    after: int
    upto: int


class Replay:
    """``read`` as a broker's, of one life of its history. For any number of threads or greenlets."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._stretches: dict[str, list[_Stretch]] = {}
        self._gone: dict[str, int] = {}
        self._size = 0
        self._life = 0

    def read(self, channels: Iterable[str], after: int, upto: int, limit: int) -> Page:
        """See ``Broker.read``; ``upto`` is a place that was given out, not one yet to come.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        names = list(channels)
        while True:
            found = self._found(names, after, upto, limit)
            if isinstance(found, Page):
                return found
            with within(self._reading, "history is read"):
                found = self._found(names, after, upto, limit)  # somebody may have read it meanwhile
                if isinstance(found, Page):
                    return found
                if self._size > BYTES:
                    self._forget_all()
                    return self._broker.read(names, after, upto, limit)
                life = self._life
                self._keep(found, self._broker.read(found.channels, found.after, found.upto, CHUNK), life)

    def begin_anew(self) -> None:
        """The history's life ended."""
        self._life += 1
        self._forget_all()

    def forget_unused(self) -> None:
        """Forget what was of no use since the last call."""
        with self._lock:
            self._gone.clear()
            for channel, stretches in list(self._stretches.items()):
                kept = [stretch for stretch in stretches if stretch.used]
                self._size -= sum(stretch.size for stretch in stretches if not stretch.used)
                for stretch in kept:
                    stretch.used = False
                if kept:
                    self._stretches[channel] = kept
                else:
                    del self._stretches[channel]

    def _forget_all(self) -> None:
        with self._lock:
            self._stretches.clear()
            self._gone.clear()
            self._size = 0

    @property
    def size(self) -> int:
        """Bytes that are kept, about."""
        return self._size

    # ----------------------------------------------------------------------

    def _found(self, names: list[str], after: int, upto: int, limit: int) -> Page | _Need:
        """The page, if all of it is here; else what to read first."""
        with self._lock:
            missing = [name for name in names if self._gone.get(name, -1) >= after]
            if missing:
                return Page([], missing, True)
            stretches = [self._stretch(name, after) for name in names]
            known = min((after if stretch is None else min(stretch.upto, upto) for stretch in stretches), default=upto)
            merged = heapq.merge(*(stretch.since(after) for stretch in stretches if stretch is not None))
            records, is_cut = _page(merged, known, limit)
            if known >= upto or is_cut:
                return Page(records, [], not is_cut)
            short = [n for n, s in zip(names, stretches) if s is None or s.upto <= known]
            return _Need(short, known, min([upto] + [self._next_start(name, known) for name in short]))

    def _stretch(self, name: str, after: int) -> _Stretch | None:
        for stretch in self._stretches.get(name, ()):
            if stretch.after <= after <= stretch.upto:
                stretch.used = True
                return stretch
        return None

    def _next_start(self, name: str, known: int) -> int:
        starts = [stretch.after for stretch in self._stretches.get(name, ()) if stretch.after > known]
        return min(starts, default=sys.maxsize)

    def _keep(self, need: _Need, page: Page, life: int) -> None:
        with self._lock:
            if life != self._life:
                return
            upto = need.upto if page.is_whole else page.records[-1].sequence
            for name in need.channels:
                if name in page.missing:
                    self._gone[name] = max(need.after, self._gone.get(name, -1))
                else:
                    self._extend(name, need.after, [record for record in page.records if record.channel == name], upto)

    def _extend(self, name: str, after: int, records: list[Record], upto: int) -> None:
        stretches = self._stretches.setdefault(name, [])
        stretch = next((found for found in stretches if found.upto == after), None)
        if stretch is None:
            stretch = _Stretch(after)
            stretches.append(stretch)
            self._size += stretch.size
        before = stretch.size
        stretch.extend(records, upto)
        follower = next((found for found in stretches if found.after == upto and found is not stretch), None)
        if follower is not None:
            stretch.extend(follower.records, follower.upto)
            stretches.remove(follower)
            before += follower.size
        self._size += stretch.size - before


def _page(records: Iterator[Record], upto: int, limit: int) -> tuple[list[Record], bool]:
    """The events of one page, and whether it ended before they did."""
    page: list[Record] = []
    size = 0
    for record in records:
        if record.sequence > upto:
            return page, False
        page.append(record)
        size += len(record.body)
        if len(page) == limit or size > PAGE_BYTES:
            return page, True
    return page, False
