"""The thread that looks for new events and calls the listener. No SQL."""

from __future__ import annotations

import threading
import time

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.cursor import Cursor
from ...util import forks
from ...util.supervise import survive
from ...util.threads import try_acquire
from ..contract.history import Listener, call_listener
from ..records import Record
from .events import BATCH
from .store import SQLiteStore
from .wakeups import Wakeups

#: Seconds between two looks for what other processes appended, if they wake this one. The look is for a process of an
#: earlier version, which does not.
SAFETY_POLL = 1.0

#: The same, if they cannot: while there are new events, and after none came for ``CALM`` seconds. The look, one
#: ``PRAGMA data_version``, takes some 5 µs; waking up for it takes twenty times as long.
POLL = 0.005
IDLE_POLL = 0.015
CALM = 1.0


class SQLiteDelivery:
    """Runs in one thread; it survives every error.

    :param appended: set when this process or another one appended an event, or this one closed the store.
    :param start: the cursor after which events are delivered.
    """

    def __init__(
        self, store: SQLiteStore, appended: threading.Event, wakeups: Wakeups, listener: Listener, start: Cursor
    ) -> None:
        self._store = store
        self._appended = appended
        self._wakeups = wakeups
        self._listener = listener
        #: Held while the listener is called, by this thread or by one that has appended an event.
        self._turn = threading.Lock()
        self._cursor = start
        self._is_behind = True
        self._delivered_at = 0.0
        self._is_lost = False

    def run(self) -> None:
        pause, born = POLL, forks.generation
        while not self._store.is_closed:
            self._appended.wait(pause)
            forks.halt_copy(born)
            self._appended.clear()
            try:
                with self._turn:
                    self._look()
                self._wakeups.listen_again()
                pause = self._choose_pause()
            except BrokerClosed:
                return
            except BrokerUnavailable as error:
                self._report_lost(str(error))
                pause = min(1.0, pause * 2)
            except BaseException as error:
                survive("the SQLite broker reads on after an error", error)
                self._report_lost("an unexpected %s: see the log" % type(error).__name__)
                pause = min(1.0, pause * 2)

    def deliver_now(self, cursor: Cursor, record: Record) -> bool:
        """Deliver an event from the thread that appended it, if it is the next one; return whether it was delivered.

        It is not read from the file, and no thread is woken for it.
        """
        if not try_acquire(self._turn):
            return False
        try:
            is_next = cursor == (self._cursor.epoch, self._cursor.sequence + 1)
            must_wait = self._is_behind or self._is_lost  # the outage's end is reported before later events
            if not is_next or must_wait or not self._listener.deliver_now(record):
                return False
            self._cursor = cursor
            return True
        finally:
            self._turn.release()

    def _choose_pause(self) -> float:
        if self._wakeups.is_listening:
            return SAFETY_POLL
        return POLL if time.monotonic() < self._delivered_at + CALM else IDLE_POLL

    def _look(self) -> None:
        with self._store.opened() as file:
            self._is_behind |= file.events.is_changed()
            is_renewed = file.epoch != self._cursor.epoch
            if is_renewed:
                self._cursor = file.events.get_newest_cursor()
        self._report_found()
        if is_renewed:
            call_listener(self._listener.begin_epoch, self._cursor)
        while self._is_behind:
            self._deliver_batch()

    def _deliver_batch(self) -> None:
        with self._store.opened() as file, file.reading():
            records, gone = file.events.read_new_events(self._cursor.sequence)
            newest = file.events.get_newest_cursor() if gone is None else self._cursor
        if gone is None:
            self._cursor = newest
            call_listener(self._listener.begin_epoch, newest)
            return
        self._is_behind = len(records) == BATCH
        if records:
            self._cursor = Cursor(self._cursor.epoch, records[-1].sequence)
            self._delivered_at = time.monotonic()
        if gone:
            call_listener(self._listener.report_gap, gone, self._cursor)
        if records:
            call_listener(self._listener.deliver, records)

    def _report_lost(self, reason: str) -> None:
        with self._turn:
            if not self._is_lost:
                self._is_lost = True
                call_listener(self._listener.report_lost, reason)

    def _report_found(self) -> None:
        if self._is_lost:
            self._is_lost = False
            call_listener(self._listener.report_found)
