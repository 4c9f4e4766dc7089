"""The memory broker: one process, gone with it. For tests and toys.

A real broker all the same: it keeps the contract of ``base.py``, encoded bodies
and trimmed history (``memory_history.py``) included. Nothing here is seen by
another process.
"""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Iterable, Mapping

from ..errors import BrokerClosed
from ..sse.encode import Cursor
from ..util.supervise import attempt
from . import base
from .base import NOT_TAKEN, Broker, Floors, History, Listener, Part, Range, Record, Report, Streams, Wanted, new_epoch
from .memory_history import MemoryHistory


class MemoryBroker(Broker):
    """Keeps everything under one lock."""

    is_shared = False

    def __init__(self, history: History) -> None:
        self._history = history
        self._epoch = new_epoch()
        self._changed = threading.Condition()
        self._events = MemoryHistory()
        self._places: dict[str, int] = {}
        self._claims: dict[str, float] = {}
        self._holder = base.new_holder()
        self._report: list[tuple[str, float, str]] = []
        self._present: dict[tuple[str, str], int] = {}
        self._present_until = 0.0
        self._closed = False

    def append_event(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        with self._changed:
            self._check_open()
            self._events.append(channel, body, latest, self._history, time.monotonic())
            self._changed.notify_all()
            return self._head()

    def get_newest_cursor(self) -> Cursor:
        with self._changed:
            self._check_open()
            return self._head()

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        parts: dict[str, Part] = {}
        with self._changed:
            self._check_open()
            self._trim()
            for channel, (after, upto) in ranges.items():
                floor = self._events.floor_of(channel, self._history)
                part = self._events.read_part(channel, max(after, floor), upto, limit, size, not parts)
                size -= sum(len(record.body) for record in part.records)
                parts[channel] = part._replace(is_missing=floor > after)
        return parts

    def get_floors(self, channels: Iterable[str]) -> Floors:
        with self._changed:
            self._check_open()
            self._trim()
            return Floors(self._head(), {name: self._events.floor_of(name, self._history) for name in channels})

    def start_delivery(self, listener: Listener) -> Cursor:
        with self._changed:
            self._check_open()
            start = self._head()
        thread = threading.Thread(target=self._run, args=(listener, start.sequence), name="ssemux-memory", daemon=True)
        thread.start()
        return start

    def subscribe_channels(self, channels: Iterable[str]) -> Wanted:
        with self._changed:
            self._check_open()
            self._trim()
            found = [record for name in set(channels) for record in self._events.latest_of(name, self._history)]
            return Wanted(self._events.sequence, sorted(found))

    def take_user_slot(self, key: str, limit: int) -> bool:
        with self._changed:
            self._check_open()
            taken = self._places.get(key, 0)
            if taken < limit:
                self._places[key] = taken + 1
            return taken < limit

    def release_user_slot(self, key: str) -> None:
        with self._changed:
            left = self._places.pop(key, 0) - 1
            if left > 0:
                self._places[key] = left

    @property
    def process_name(self) -> str:
        return self._holder

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        pass  # there is no other process

    def find_oldest_slot_holder(self, key: str) -> str | None:
        with self._changed:
            self._check_open()
            return self._holder if key in self._places else None

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        with self._changed:
            self._check_open()
            now = time.monotonic()
            self._claims = {name: until for name, until in self._claims.items() if until > now}
            is_first = key not in self._claims
            self._claims.setdefault(key, now + seconds)
            return is_first

    def write_report(self, figures: dict[str, Any]) -> None:
        with self._changed:
            if not self._closed:
                self._report = [(self._holder, time.monotonic(), json.dumps(figures))]

    def read_reports(self) -> list[Report]:
        with self._changed:
            self._check_open()
            ages = [(holder, time.monotonic() - at, text) for holder, at, text in self._report]
        return base.living(row for row in ages if row[1] <= base.REPORT_LASTS)

    def announce_presence(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        with self._changed:
            self._check_open()
            was_there = time.monotonic() < self._present_until
            if anew or not was_there:
                self._present.clear()
            self._present_until = time.monotonic() + lasts
            self._present.update(streams)
            self._present = {key: count for key, count in self._present.items() if count}
            return was_there

    def get_presence(self, channel: str) -> dict[str, int]:
        with self._changed:
            self._check_open()
            if time.monotonic() >= self._present_until:
                return {}
            return {user: count for (name, user), count in self._present.items() if name == channel}

    def get_figures(self) -> dict[str, object]:
        with self._changed:
            self._check_open()
            return {
                "broker": "memory",
                "cursor": str(self._head()),
                **self._events.figures(),
                "held": sum(self._places.values()),
            }

    def disown(self) -> None:
        self._closed = True

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _head(self) -> Cursor:
        return Cursor(self._epoch, self._events.sequence)

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerClosed("this memory broker is closed")

    def _trim(self) -> None:
        self._events.trim(self._history, time.monotonic())

    def _run(self, listener: Listener, after: int) -> None:
        while not self._closed:
            with self._changed:
                while self._events.sequence == after and not self._closed:
                    self._changed.wait()
                head = self._head()
                news, lost = self._events.news(after)
            after = news[-1].sequence if news and lost is not None else head.sequence
            _tell(listener, news, lost, Cursor(head.epoch, after))


def _tell(listener: Listener, news: list[Record], lost: list[str] | None, upto: Cursor) -> None:
    if lost is None:
        attempt(NOT_TAKEN, listener.renewed, upto)
        return
    if lost:
        attempt(NOT_TAKEN, listener.gap, lost, upto)
    if news:
        attempt(NOT_TAKEN, listener.deliver, news)
