"""The history of the memory broker: the contract's methods. ``delivery.py`` calls the listener."""

from __future__ import annotations

import threading
import time
from typing import Iterable, Mapping, Sequence

from ...sse.cursor import Cursor
from ..contract.history import EventHistory, Listener
from ..names import make_random_name
from ..records import ChannelPage, Floors, HistoryLimits, NewEvent, Range, Record, SubscriptionStart
from .delivery import MemoryDelivery
from .kept_events import KeptEvents
from .store import MemoryStore


class MemoryHistory(EventHistory):
    """Keeps events in this process.

    :param limits: how much is kept.
    """

    def __init__(self, store: MemoryStore, limits: HistoryLimits) -> None:
        self._store = store
        self._limits = limits
        self._epoch = make_random_name()
        self.events = KeptEvents()
        self._deliveries: list[MemoryDelivery] = []

    def append_event(self, channel: str, body: bytes, latest_key: str | None = None) -> Cursor:
        with self._store.changed:
            self._store.check_open()
            self.events.append_event(channel, body, latest_key, self._limits, time.monotonic())
            cursor = self.get_cursor()
        self._deliver([Record(cursor.sequence, channel, body, latest_key)])
        return cursor

    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        with self._store.changed:
            self._store.check_open()
            cursors = self.store_events(events)
        self.announce_events(events, cursors)
        return cursors

    def store_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        """Store events, of which ``announce_events`` must be called afterwards. The caller holds the lock."""
        now, cursors = time.monotonic(), []
        for channel, body, latest_key in events:
            self.events.append_event(channel, body, latest_key, self._limits, now)
            cursors.append(self.get_cursor())
        return cursors

    def get_newest_cursor(self) -> Cursor:
        with self._store.changed:
            self._store.check_open()
            return self.get_cursor()

    def get_cursor(self) -> Cursor:
        """Return the newest cursor. The caller holds the lock."""
        return Cursor(self._epoch, self.events.sequence)

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        pages: dict[str, ChannelPage] = {}
        with self._store.changed:
            self._trim()
            for channel, (after, upto) in ranges.items():
                floor = self.events.find_floor(channel, self._limits)
                page = self.events.read_channel(channel, max(after, floor), upto, limit, size, not pages)
                size -= sum(len(record.body) for record in page.records)
                pages[channel] = page._replace(is_missing=floor > after)
        return pages

    def get_floors(self, channels: Iterable[str]) -> Floors:
        with self._store.changed:
            self._trim()
            return Floors(self.get_cursor(), {name: self.events.find_floor(name, self._limits) for name in channels})

    def subscribe_channels(self, channels: Iterable[str]) -> SubscriptionStart:
        with self._store.changed:
            self._store.check_open()
            latest = self.events.list_latest(channels, self._limits, time.monotonic())
            return SubscriptionStart(self.events.sequence, latest)

    def _trim(self) -> None:
        self._store.check_open()
        self.events.trim_events(self._limits, time.monotonic())

    # -- delivery ----------------------------------------------------------

    def start_delivery(self, listener: Listener) -> Cursor:
        start = self.get_newest_cursor()
        delivery = MemoryDelivery(self._store, self.events, listener, start)
        self._deliveries.append(delivery)
        threading.Thread(target=delivery.run, name="ssemux-memory", daemon=True).start()
        return start

    def announce_events(self, events: Sequence[NewEvent], cursors: Sequence[Cursor]) -> None:
        """Deliver events that were just stored: in this thread, if that is possible at once."""
        self._deliver([Record(cursor.sequence, *event) for cursor, event in zip(cursors, events)])

    def _deliver(self, records: Sequence[Record]) -> None:
        is_delivered = False
        try:
            results = [all(map(delivery.deliver_now, records)) for delivery in self._deliveries]
            is_delivered = all(results)
        finally:  # also if the publisher's greenlet is ended here: the events are stored
            if not is_delivered:
                with self._store.changed:
                    self._store.changed.notify_all()
