"""The one thread of a process that hears of new events, reads those of subscribed channels, and calls the listener.

PostgreSQL notifies each listening connection of each event, in their order. The thread takes the events of channels
that have readers here, reads the bodies that are too large for a notification, and goes past all others. After its
connection broke, it reads all that it has not heard of. No SQL of other parts.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Iterable, Sequence

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.cursor import Cursor
from ...util import forks
from ...util.supervise import survive
from ...util.threads import try_acquire
from ..contract import constants
from ..contract.history import Listener, call_listener
from ..echoes import Echoes
from ..records import Record
from .connection import Connection
from .lane import Rows
from .news import News, parse_news
from .refusal import ConnectionLost, ServerError
from .schema import quote_name
from .store import PLACED, PostgresStore
from .values import pack_sequences, pack_texts

#: Seconds after which a lost server is looked for again: doubled up to this, and spread.
BACK_OFF = 1.0

#: Seconds after which the server is asked again which epoch it has, and the seconds that it has to answer.
CHECK, ANSWER = 4.0, 2.0

#: Seconds after which each process looks again for events of the application's transactions. Several processes look one
#: after the other.
PLACE = 0.5

#: Events, and bytes of bodies, that are read at a time.
BATCH = 500

#: Channels whose floors are asked for at a time.
CHANNELS = 500


class PostgresDelivery:
    """Runs in one thread; it survives every error.

    :param start: events after this cursor are delivered.
    """

    def __init__(self, store: PostgresStore, listener: Listener, start: Cursor) -> None:
        self.cursor = start
        self._store = store
        self._listener = listener
        #: Held while the listener is called, by this thread or by one that has appended an event.
        self._turn = threading.Lock()
        self._echoes = Echoes()
        self._changed = threading.Lock()
        self._channels: set[str] = set()
        self._connection: Connection | None = None
        self._is_live = False
        self._checked_at = self._placed_at = 0.0
        self._lost = ""
        self._is_stopped = threading.Event()

    # -- called by other threads -------------------------------------------

    def subscribe_channels(self, channels: Sequence[str]) -> None:
        """From now on, events of these channels are read.

        :raises BrokerUnavailable: the store is known to be lost.
        """
        with self._changed:
            self._channels.update(channels)
        if self._lost:
            raise BrokerUnavailable(self._lost)

    def unsubscribe_channel(self, channel: str) -> None:
        with self._changed:
            self._channels.discard(channel)

    def deliver_now(self, cursor: Cursor, record: Record) -> bool:
        """Deliver an event from the thread that appended it, if it is the next one; return whether it was delivered.

        It is not read from the database, and no thread is woken for it.
        """
        self._echoes.note_event()
        if not try_acquire(self._turn):
            return False
        try:
            is_next = self._is_live and cursor == (self.cursor.epoch, self.cursor.sequence + 1)
            if not is_next or not self._listener.deliver_now(record):
                return False
            self.cursor = cursor
            return True
        finally:
            self._turn.release()

    def stop(self) -> None:
        self._is_stopped.set()
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    # -- the thread --------------------------------------------------------

    def run(self) -> None:
        pause, born = BACK_OFF / 16, forks.generation
        while not self._is_stopped.is_set():
            began = time.monotonic()
            try:
                self._run_session(born)
            except BrokerClosed:
                return
            except BrokerUnavailable as error:
                self._report_lost(str(error))
            except (ConnectionLost, ServerError) as error:
                if isinstance(error, ServerError):
                    self._store.note_error(error)
                self._report_lost(str(self._store.address.make_refusal(error)))
            except BaseException as error:
                survive("the PostgreSQL broker reads on after an error", error)
                self._report_lost("an unexpected %s: see the log" % type(error).__name__)
            if time.monotonic() - began > CHECK:
                pause = BACK_OFF / 16
            self._is_stopped.wait(pause * random.uniform(0.5, 1.0))
            forks.halt_copy(born)
            pause = min(pause * 2, BACK_OFF)

    def _run_session(self, born: int) -> None:
        """Use one connection until it breaks: listen, read what was missed, then hear of new events.

        :param born: this process's generation; in a forked child the connection breaks, and this does not return.
        """
        connection = self._connection = self._store.address.connect(_deadline(), listens=True)
        try:
            self._check_direct(connection)
            self._store.prepare(connection, _deadline())
            self._listen(connection)
            self._checked_at, self._placed_at = time.monotonic(), 0.0
            while not self._is_stopped.is_set():
                self._hear(connection)
        finally:
            forks.halt_copy(born)
            self._is_live, self._connection = False, None
            connection.close()

    def _check_direct(self, connection: Connection) -> None:
        """:raises BrokerUnavailable: there is a pooler in between."""
        if not connection.is_direct(_deadline()):
            raise self._store.address.make_refusal(
                "a pooler such as PgBouncer is in between, and listening for events needs a connection to the server "
                "itself: add listen_host=HOST and listen_port=PORT to the URL's options (docs/postgres.md)"
            )

    def _listen(self, connection: Connection) -> None:
        """Listen to the channel of these tables, and deliver what was appended before."""
        query = "SELECT notify_channel FROM %s.state" % quote_name(self._store.address.schema)
        ((name,),) = connection.ask(query, (), _deadline())
        connection.ask("LISTEN %s" % quote_name(name), (), _deadline())
        self._catch_up(connection)

    def _hear(self, connection: Connection) -> None:
        """Deliver what was notified, or check the server while nothing comes."""
        self._place_events(connection)
        pause = max(0.0, min(self._checked_at + CHECK, self._placed_at + PLACE) - time.monotonic())
        news = [parse_news(text) for text in connection.wait_for_notifications(pause)]
        with self._turn:
            while news:
                if news[0].epoch != self.cursor.epoch:
                    self._catch_up_locked(connection)
                    news = [it for it in news if it.epoch == self.cursor.epoch]
                else:
                    news = self._deliver_batch(connection, news)
        self._echoes.gather()
        if time.monotonic() - self._checked_at >= CHECK:
            state = self._store.read_state_on(connection, time.monotonic() + ANSWER)
            self._checked_at = time.monotonic()
            if state.newest.epoch != self.cursor.epoch:  # the tables may be others
                self._listen(connection)

    def _place_events(self, connection: Connection) -> None:
        """Give events of the application's transactions their place, from time to time: this process then hears of
        them as of all others. Also in a store that has none this shows whether the connection still works."""
        now = time.monotonic()
        if now - self._placed_at >= PLACE:
            statement, deadline = self._store.make_statement("place_events", 3), now + ANSWER
            placed = self._store.place_events(lambda _, *values: connection.ask_prepared(statement, values, deadline))
            self._placed_at = now if placed < PLACED else 0.0

    def _deliver_batch(self, connection: Connection, news: list[News]) -> list[News]:
        """Deliver the first events of these, as many as may be read at a time; return the others."""
        wanted: list[News] = []
        size = count = 0
        with self._changed:
            for it in news:
                if it.epoch != self.cursor.epoch or len(wanted) == BATCH or size >= constants.PAGE_BYTES:
                    break
                count += 1
                if it.sequence > self.cursor.sequence and it.channel in self._channels:
                    wanted.append(it)
                    size += it.size
        last = Cursor(self.cursor.epoch, max(news[count - 1].sequence, self.cursor.sequence))
        records = self._find_records(connection, wanted, last)
        self.cursor = self._store.note_cursor(last)
        self._deliver(records)
        return news[count:]

    def _find_records(self, connection: Connection, wanted: Sequence[News], upto: Cursor) -> list[Record]:
        """Return these events, in their order: those whose bodies were not in the notification are read."""
        records = [it.make_record() for it in wanted if it.packed]
        unread = [it for it in wanted if not it.packed]
        if unread:
            found = self._read(connection, "read_some", pack_sequences(it.sequence for it in unread))
            self._report_gaps(connection, unread, found, upto)
            records = sorted([*records, *found], key=lambda record: record.sequence)
        return records

    def _report_gaps(
        self, connection: Connection, wanted: Sequence[News], records: Sequence[Record], upto: Cursor
    ) -> None:
        """Report the channels of which events were deleted before they were read; a replaced event is no gap."""
        found = {record.sequence for record in records}
        missing = [it for it in wanted if it.sequence not in found]
        if missing:
            floors = self._read_floors(connection, {it.channel for it in missing})
            gone = {it.channel for it in missing if it.sequence <= floors[it.channel]}
            if gone:
                call_listener(self._listener.report_gap, sorted(gone), upto)

    # -- after a connection was lost ---------------------------------------

    def _catch_up(self, connection: Connection) -> None:
        with self._turn:
            self._catch_up_locked(connection)

    def _catch_up_locked(self, connection: Connection) -> None:
        """Deliver what was appended while no connection listened. With the turn."""
        state = self._store.read_state_on(connection, _deadline())
        self._report_found()
        if state.newest.epoch != self.cursor.epoch:
            self.cursor = state.born
            call_listener(self._listener.begin_epoch, state.born)
        while self.cursor.sequence < state.newest.sequence:
            self._catch_up_batch(connection, state.newest)
        self._is_live = True

    def _catch_up_batch(self, connection: Connection, newest: Cursor) -> None:
        before = self.cursor.sequence
        records = self._read(connection, "read_after", before, newest.sequence, BATCH, constants.PAGE_BYTES)
        is_whole = not records or records[-1].sequence == newest.sequence
        upto = newest if is_whole else Cursor(newest.epoch, records[-1].sequence)
        ((gone, forgotten),) = self._ask(connection, "read_gone")
        if gone > before and forgotten > before:  # events of any channel may be missing
            self.cursor = newest
            call_listener(self._listener.begin_epoch, newest)
            return
        if gone > before:
            channels = self._list_channels()
            floors = self._read_floors(connection, channels)
            missing = [name for name in channels if floors[name] > before]
            if missing:
                call_listener(self._listener.report_gap, missing, upto)
        self.cursor = upto
        self._deliver(records)

    def _list_channels(self) -> list[str]:
        with self._changed:
            return sorted(self._channels)

    # -- reading -----------------------------------------------------------

    def _ask(self, connection: Connection, function: str, *values: Any) -> Rows:
        return connection.ask_prepared(self._store.make_statement(function, len(values)), values, _deadline())

    def _read(self, connection: Connection, function: str, *values: Any) -> list[Record]:
        return [Record(*row) for row in self._ask(connection, function, *values)]

    def _read_floors(self, connection: Connection, channels: Iterable[str]) -> dict[str, int]:
        names = list(channels)
        found: dict[str, int] = {}
        for start in range(0, len(names), CHANNELS):
            part = names[start : start + CHANNELS]
            values = pack_texts(part), constants.OWN_SECONDS, constants.OWN_EVENTS
            found.update(zip(part, self._ask(connection, "get_floors", *values)[0][2]))
        return found

    # -- the listener ------------------------------------------------------

    def _deliver(self, records: Sequence[Record]) -> None:
        if records:
            call_listener(self._listener.deliver, records)

    def _report_lost(self, reason: str) -> None:
        with self._turn:
            before, self._lost = self._lost, reason or "lost"
            if not before and not self._is_stopped.is_set():
                call_listener(self._listener.report_lost, self._lost)

    def _report_found(self) -> None:
        if self._lost:
            self._lost = ""
            call_listener(self._listener.report_found)


def _deadline() -> float:
    return time.monotonic() + constants.WAIT_SECONDS
