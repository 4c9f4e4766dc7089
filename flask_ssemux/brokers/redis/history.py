"""The history of the Redis broker: the contract's methods."""

from __future__ import annotations

import itertools
import threading
from typing import Any, Iterable, Mapping, Sequence

from ...sse.cursor import Cursor
from ..contract.history import EventHistory, Listener
from ..records import ChannelPage, Floors, NewEvent, Range, Record, SubscriptionStart
from . import scripts
from .delivery import RedisDelivery
from .reading import parse_records, read_channels
from .scripts import Script
from .store import RedisStore


class RedisHistory(EventHistory):
    """Appends events by one script; one thread receives what is announced."""

    def __init__(self, store: RedisStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._new_slots, self._free_slots = itertools.count(1), [0]
        self._has_rights = False
        self._delivery: RedisDelivery | None = None

    def append_event(self, channel: str, body: bytes, latest_key: str | None = None) -> Cursor:
        cursor = self.call_append(scripts.APPEND_EVENTS, channel, body, latest_key or "")[0]
        if self._delivery is not None:
            self._delivery.deliver_now(cursor, Record(cursor.sequence, channel, body, latest_key))
        return cursor

    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        values = [value for channel, body, key in events for value in (channel, body, key or "")]
        epoch, last = self.call_append(scripts.APPEND_EVENTS, *values)[0]
        cursors = [Cursor(epoch, last - left) for left in reversed(range(len(events)))]
        self.deliver_events(events, cursors)
        return cursors

    def deliver_events(self, events: Sequence[NewEvent], cursors: Sequence[Cursor]) -> None:
        """Deliver events that were just appended, as far as that is possible at once; the thread delivers the rest."""
        delivery = self._delivery
        if delivery is not None:
            all(delivery.deliver_now(it, Record(it.sequence, *new)) for it, new in zip(cursors, events))

    def call_append(self, script: Script, *values: Any) -> tuple[Cursor, Any]:
        """Call a script that appends events; return the cursor of the last event, and the script's answer.

        :param values: what the script needs besides what all appends have: of each event its channel, its body, and the
            key of a latest event or "".
        :raises BrokerUnavailable: there was no answer, or the server refused them.
        """
        store, slot = self._store, self._take_answer_slot()
        try:
            must_try = int(not self._has_rights)
            answer = store.call(
                script, store.announced, self._process_name, slot, store.make_token(), must_try, *values
            )
            cursor = store.note_answer(answer)
            self._has_rights = True
            return cursor, answer
        finally:
            self._free_slots.append(slot)

    def _take_answer_slot(self) -> int:
        """Return where the store keeps the answer: no two calls at a time have the same slot."""
        try:
            return self._free_slots.pop()
        except IndexError:
            return next(self._new_slots)

    def get_newest_cursor(self) -> Cursor:
        return self._store.read_state().newest

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        expected = self._delivery.cursor.epoch if self._delivery else self._store.known.epoch
        return read_channels(self._store, scripts.READ_CHANNELS, expected, ranges, limit, size)

    def get_floors(self, channels: Iterable[str]) -> Floors:
        names = list(channels)
        answer = self._store.read(scripts.GET_FLOORS, *names)
        return Floors(self._store.note_answer(answer), dict(zip(names, map(int, answer[2]))))

    def has_lost(self, cursor: Cursor) -> bool:
        return self._store.has_lost(cursor)

    # -- delivery ----------------------------------------------------------

    def start_delivery(self, listener: Listener) -> Cursor:
        start = self.get_newest_cursor()
        self._delivery = RedisDelivery(self._store, listener, start)
        threading.Thread(target=self._delivery.run, name="ssemux-redis", daemon=True).start()
        return start

    def subscribe_channels(self, channels: Iterable[str]) -> SubscriptionStart:
        self._store.check_open()
        names = list(channels)
        if self._delivery is not None:
            self._delivery.subscribe_channels(names)
        answer = self._store.call(scripts.GET_NEWEST, *names)
        return SubscriptionStart(self._store.note_answer(answer).sequence, sorted(parse_records(answer[5], names)))

    def unsubscribe_channel(self, channel: str) -> None:
        if self._delivery is not None:
            self._delivery.unsubscribe_channel(channel)

    def stop_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.stop()
