"""The history of the SQLite broker: the contract's methods. The statements are in the modules that ``file`` names."""

from __future__ import annotations

import threading
from typing import Iterable, Mapping, Sequence

from ...sse.cursor import Cursor
from ..contract.history import EventHistory, Listener
from ..records import ChannelPage, Floors, NewEvent, Range, Record, SubscriptionStart
from .delivery import SQLiteDelivery
from .store import SQLiteStore
from .wakeups import Wakeups

#: About how many bytes an event takes in the file besides its body's.
ROW_BYTES = 200


class SQLiteHistory(EventHistory):
    """Appends events in one short transaction; one thread looks for those of other processes."""

    def __init__(self, store: SQLiteStore, wakeups: Wakeups) -> None:
        self._store = store
        self._wakeups = wakeups
        self._appended = threading.Event()
        self._delivery: SQLiteDelivery | None = None

    def append_event(self, channel: str, body: bytes, latest_key: str | None = None) -> Cursor:
        with self._store.opened() as file:
            cursor = file.change(lambda: file.events.append_event(channel, body, latest_key), len(body) or 1)
            file.events.notice_event(cursor.sequence)
            file.trimming.trim_if_due(len(body))
        self._announce([Record(cursor.sequence, channel, body, latest_key)], cursor.epoch)
        return cursor

    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        size = sum(len(event.body) + ROW_BYTES for event in events)
        with self._store.opened() as file:
            cursors = file.change(lambda: file.events.append_events(events), size)
            file.events.notice_event(cursors[-1].sequence)
            file.trimming.trim_if_due(size, len(events))
        self.announce_events(events, cursors)
        return cursors

    def get_newest_cursor(self) -> Cursor:
        with self._store.opened() as file:
            return file.events.get_newest_cursor()

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        with self._store.opened() as file, file.reading():
            return file.past.read_channels(ranges, limit, size)

    def get_floors(self, channels: Iterable[str]) -> Floors:
        with self._store.opened() as file, file.reading():
            return Floors(file.events.get_newest_cursor(), file.floors.find_floors(channels))

    def has_lost(self, cursor: Cursor) -> bool:
        return self._store.voids.contain(cursor)

    # -- delivery ----------------------------------------------------------

    def start_delivery(self, listener: Listener) -> Cursor:
        self.get_newest_cursor()  # which makes the file
        self._wakeups.listen(self._appended.set)
        start = self.get_newest_cursor()
        self._delivery = SQLiteDelivery(self._store, self._appended, self._wakeups, listener, start)
        threading.Thread(target=self._delivery.run, name="ssemux-sqlite", daemon=True).start()
        return start

    def announce_events(self, events: Sequence[NewEvent], cursors: Sequence[Cursor]) -> None:
        """Deliver events that were just appended, one at least."""
        self._announce([Record(it.sequence, *new) for it, new in zip(cursors, events)], cursors[0].epoch)

    def _announce(self, records: Sequence[Record], epoch: str) -> None:
        """Deliver events that were just appended: here at once, if that is possible, and elsewhere."""
        delivery, is_delivered = self._delivery, False
        try:
            is_delivered = delivery is None or all(
                delivery.deliver_now(Cursor(epoch, record.sequence), record) for record in records
            )
        finally:  # also if the publisher's greenlet is ended here: the events are stored
            if not is_delivered:
                self._appended.set()
            self._wakeups.wake_others()

    def subscribe_channels(self, channels: Iterable[str]) -> SubscriptionStart:
        with self._store.opened() as file:
            return file.events.find_start(list(channels))

    def wake_delivery(self) -> None:
        """Let the thread look at once: for an event of this process, or the end."""
        self._appended.set()
