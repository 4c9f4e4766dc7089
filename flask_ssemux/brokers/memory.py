"""The memory broker: one process, gone with it. For tests and toys.

A real broker all the same: it keeps the contract of ``base.py``, encoded bodies
and trimmed history included. Nothing here is seen by another process.
"""

from __future__ import annotations

import json
import threading
import time
from bisect import bisect_right
from collections import deque
from itertools import takewhile
from typing import Any, Iterable, Mapping

from ..errors import BrokerClosed
from ..wire import Cursor
from . import base
from .base import Broker, Floors, History, Listener, Part, Range, Record, Report, Streams, Wanted, log, new_epoch

#: Events delivered at a time.
BATCH = 500


class MemoryBroker(Broker):
    """Keeps everything in one list, under one lock."""

    shared = False

    def __init__(self, history: History) -> None:
        self._history = history
        self._epoch = new_epoch()
        self._changed = threading.Condition()
        self._kept: deque[tuple[float, Record]] = deque()
        #: The same, by channel.
        self._of: dict[str, list[Record]] = {}
        self._latest: dict[str, dict[str, tuple[float, Record]]] = {}
        self._counts: dict[str, int] = {}
        self._floors: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._claims: dict[str, float] = {}
        self._holder = base.new_holder()
        self._report: list[tuple[str, float, str]] = []
        self._present: dict[tuple[str, str], int] = {}
        self._present_until = 0.0
        self._sequence = 0
        self._closed = False

    def append(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        with self._changed:
            self._check_open()
            self._sequence += 1
            entry = (time.monotonic(), Record(self._sequence, channel, body, latest))
            self._kept.append(entry)
            self._of.setdefault(channel, []).append(entry[1])
            self._counts[channel] = self._counts.get(channel, 0) + 1
            if latest is not None:
                self._supersede(channel, latest, entry)
            self._trim(channel)
            self._changed.notify_all()
            return self._head()

    def head(self) -> Cursor:
        with self._changed:
            self._check_open()
            return self._head()

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        with self._changed:
            self._check_open()
            for channel, (after, upto) in ranges.items():
                floor = self._floors.get(channel, 0)
                part = _part(self._of.get(channel, []), max(after, floor), upto, limit, size, not parts)
                size -= sum(len(record.body) for record in part.records)
                parts[channel] = part._replace(is_missing=floor > after)
        return parts

    def floors(self, channels: Iterable[str]) -> Floors:
        with self._changed:
            self._check_open()
            return Floors(self._head(), {channel: self._floors.get(channel, 0) for channel in channels})

    def listen(self, listener: Listener) -> Cursor:
        with self._changed:
            self._check_open()
            start = self._head()
        thread = threading.Thread(target=self._run, args=(listener, start.sequence), name="ssemux-memory", daemon=True)
        thread.start()
        return start

    def want(self, channels: Iterable[str]) -> Wanted:
        with self._changed:
            self._check_open()
            found = [entry[1] for name in set(channels) for entry in self._latest.get(name, {}).values()]
            return Wanted(self._sequence, sorted(found))

    def hold(self, key: str, limit: int) -> bool:
        with self._changed:
            self._check_open()
            taken = self._places.get(key, 0)
            if taken < limit:
                self._places[key] = taken + 1
            return taken < limit

    def release(self, key: str) -> None:
        with self._changed:
            left = self._places.pop(key, 0) - 1
            if left > 0:
                self._places[key] = left

    @property
    def holder(self) -> str:
        return self._holder

    def show_oldest(self, key: str, since: float | None) -> None:
        pass  # there is no other process

    def oldest(self, key: str) -> str | None:
        with self._changed:
            self._check_open()
            return self._holder if key in self._places else None

    def claim(self, key: str, seconds: float) -> bool:
        with self._changed:
            self._check_open()
            now = time.monotonic()
            self._claims = {name: until for name, until in self._claims.items() if until > now}
            is_first = key not in self._claims
            self._claims.setdefault(key, now + seconds)
            return is_first

    def report(self, figures: dict[str, Any]) -> None:
        with self._changed:
            if not self._closed:
                self._report = [(self._holder, time.monotonic(), json.dumps(figures))]

    def reports(self) -> list[Report]:
        with self._changed:
            self._check_open()
            ages = [(holder, time.monotonic() - at, text) for holder, at, text in self._report]
        return base.living(row for row in ages if row[1] <= base.REPORT_LASTS)

    def present(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        with self._changed:
            self._check_open()
            was_there = time.monotonic() < self._present_until
            if anew or not was_there:
                self._present.clear()
            self._present_until = time.monotonic() + lasts
            self._present.update(streams)
            self._present = {key: count for key, count in self._present.items() if count}
            return was_there

    def presence(self, channel: str) -> dict[str, int]:
        with self._changed:
            self._check_open()
            if time.monotonic() >= self._present_until:
                return {}
            return {user: count for (name, user), count in self._present.items() if name == channel}

    def figures(self) -> dict[str, object]:
        with self._changed:
            self._check_open()
            return {
                "broker": "memory",
                "cursor": str(self._head()),
                "events": len(self._kept),
                "channels": len(self._counts),
                "held": sum(self._places.values()),
            }

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _since(self, after: int) -> list[Record]:
        newest_first = takewhile(lambda record: record.sequence > after, (kept[1] for kept in reversed(self._kept)))
        return list(newest_first)[: -BATCH - 1 : -1]

    def _head(self) -> Cursor:
        return Cursor(self._epoch, self._sequence)

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerClosed("this memory broker is closed")

    def _trim(self, channel: str) -> None:
        """By age from the old end, which costs nothing more; by count where one channel is over."""
        oldest = time.monotonic() - self._history.seconds
        while len(self._kept) > 1 and self._kept[0][0] < oldest:
            self._forget(self._kept.popleft()[1])
        if self._counts.get(channel, 0) > self._history.events:
            first = next(entry for entry in self._kept if entry[1].channel == channel)
            self._kept.remove(first)
            self._forget(first[1])

    def _supersede(self, channel: str, key: str, entry: tuple[float, Record]) -> None:
        keys = self._latest.setdefault(channel, {})
        before, keys[key] = keys.get(key), entry
        if before is not None:
            self._kept.remove(before)
            self._of[channel].remove(before[1])
            self._counts[channel] -= 1

    def _forget(self, record: Record) -> None:
        if record.latest is not None:
            self._latest[record.channel].pop(record.latest)
            if not self._latest[record.channel]:
                del self._latest[record.channel]
        self._floors[record.channel] = record.sequence
        del self._of[record.channel][0]
        if not self._of[record.channel]:
            del self._of[record.channel]
        self._counts[record.channel] -= 1
        if not self._counts[record.channel]:
            del self._counts[record.channel]

    def _run(self, listener: Listener, after: int) -> None:
        while not self._closed:
            with self._changed:
                while self._sequence == after and not self._closed:
                    self._changed.wait()
                head = self._head()
                news = self._since(after)
                lost = [name for name, floor in self._floors.items() if floor > after]
            after = news[-1].sequence if news else head.sequence
            try:
                if lost:
                    listener.gap(lost, Cursor(head.epoch, after))
                if news:
                    listener.deliver(news)
            except Exception:
                log.exception("delivery from the memory broker failed")


def _part(kept: list[Record], after: int, upto: int, limit: int, size: int, is_first: bool) -> Part:
    """The oldest events of one channel in a range, as ``read_channels`` gives them."""
    records: list[Record] = []
    for index in range(bisect_right(kept, (after, chr(0x10FFFF))), len(kept)):
        record = kept[index]
        if record.sequence > upto:
            break
        if len(records) == limit or (size <= 0 and not (is_first and not records)):
            return Part(records, record.sequence - 1, False)
        records.append(record)
        size -= len(record.body)
    return Part(records, max(upto, after), False)
