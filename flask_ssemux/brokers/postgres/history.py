"""The history of the PostgreSQL broker: the contract's methods."""

from __future__ import annotations

import itertools
import logging
import threading
from typing import Iterable, Mapping, Sequence

from ...errors import BrokerBehind, BrokerClosed, BrokerUnavailable
from ...sse.cursor import Cursor
from ..contract import constants
from ..contract.history import EventHistory, Listener
from ..records import ChannelPage, Floors, NewEvent, Range, Record, SubscriptionStart
from .appending import Appends, list_cursors
from .delivery import PostgresDelivery
from .schema import quote_name
from .store import PLACED, PostgresStore
from .trimming import Trimming
from .values import pack_sequences, pack_texts

log = logging.getLogger("flask_ssemux")

#: About how many bytes an event takes besides its body's.
ROW_BYTES = 200


class PostgresHistory(EventHistory):
    """Appends events by one function of the database; one thread hears of those of other processes."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._trimming = Trimming(store)
        self._appends = Appends(store, self.announce_events)
        self._delivery: PostgresDelivery | None = None

    def append_event(self, channel: str, body: bytes, latest_key: str | None = None) -> Cursor:
        return self.append_events([NewEvent(channel, body, latest_key)])[0]

    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        return self._appends.append_events(events)

    @property
    def waiting_appends(self) -> int:
        """How many callers wait until the events of others are stored."""
        return self._appends.waiting_calls

    def announce_events(self, events: Sequence[NewEvent], last: Cursor, over: Iterable[str] | None) -> list[Cursor]:
        """Deliver events that were just stored: here at once, if that is possible. Return their cursors.

        :param last: the cursor of the last one.
        :param over: the channels that went over the limit of events.
        """
        self._store.note_cursor(last)
        cursors = list_cursors(last, len(events))
        if self._delivery is not None:  # what it does not take now, it hears of
            records = [Record(cursor.sequence, *event) for cursor, event in zip(cursors, events)]
            all(itertools.starmap(self._delivery.deliver_now, zip(cursors, records)))
        self._trimming.note_appended(len(events), sum(len(event.body) + ROW_BYTES for event in events), over)
        return cursors

    def get_newest_cursor(self) -> Cursor:
        return self._store.read_state().newest

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        names = list(ranges)
        rows = self._store.read(
            "read_channels", pack_texts(names), pack_sequences(range_.after for range_ in ranges.values()),
            pack_sequences(range_.upto for range_ in ranges.values()), limit, size, constants.LARGE_BODY_BYTES,
            constants.OWN_SECONDS, constants.OWN_EVENTS,
        )  # fmt: skip
        self._check_epoch(rows[0][2].decode("ascii"))
        pages: dict[str, ChannelPage] = {}
        records: list[Record] = []
        for number, sequence, body, latest, upto, is_missing in rows[1:]:
            if sequence is None:
                pages[names[number - 1]] = ChannelPage(records, upto, is_missing)
                records = []
            else:
                records.append(Record(sequence, names[number - 1], body, latest))
        return pages

    def _check_epoch(self, epoch: str) -> None:
        expected = self._delivery.cursor.epoch if self._delivery else epoch
        if epoch != expected:
            raise BrokerBehind("the PostgreSQL store %s: its history began anew" % self._store.address.shown)

    def get_floors(self, channels: Iterable[str]) -> Floors:
        names = list(channels)
        rows = self._store.read("get_floors", pack_texts(names), constants.OWN_SECONDS, constants.OWN_EVENTS)
        epoch, newest, floors = rows[0]
        return Floors(self._store.note_cursor(Cursor(epoch, newest)), dict(zip(names, floors or ())))

    def has_lost(self, cursor: Cursor) -> bool:
        return self._store.has_lost(cursor)

    # -- events of the application's own transactions ----------------------

    def find_outbox(self) -> str | None:
        if not self._store.is_prepared:
            self._store.read_state()  # which makes the tables
        return "%s.outbox" % quote_name(self._store.address.schema)

    def place_events(self) -> None:
        try:
            while self._store.place_events(self._store.call) == PLACED:
                pass
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("events of transactions were not placed: %s", error)

    # -- delivery ----------------------------------------------------------

    def start_delivery(self, listener: Listener) -> Cursor:
        start = self.get_newest_cursor()
        self._delivery = PostgresDelivery(self._store, listener, start)
        threading.Thread(target=self._delivery.run, name="ssemux-postgres", daemon=True).start()
        return start

    def subscribe_channels(self, channels: Iterable[str]) -> SubscriptionStart:
        names = list(channels)
        if self._delivery is not None:
            self._delivery.subscribe_channels(names)
        rows = self._store.read("start_channels", pack_texts(names), constants.OWN_SECONDS, constants.OWN_EVENTS)
        (epoch, newest, *_), *latest = rows
        self._store.note_cursor(Cursor(epoch, newest))
        return SubscriptionStart(newest, [Record(*row) for _, *row in latest])

    def unsubscribe_channel(self, channel: str) -> None:
        if self._delivery is not None:
            self._delivery.unsubscribe_channel(channel)

    def stop_delivery(self) -> None:
        if self._delivery is not None:
            self._delivery.stop()
