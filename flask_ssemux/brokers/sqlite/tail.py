"""The thread that looks for what was appended and tells the listener. No SQL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.encode import Cursor
from ...util import forks
from ...util.supervise import attempt, survive
from ..base import NOT_TAKEN, Listener
from .events import BATCH

if TYPE_CHECKING:
    from .broker import SQLiteBroker

#: Seconds between two looks for what other processes appended: while there is news, and when there
#: was none for ``CALM`` seconds. The look, one ``PRAGMA data_version``, takes some 5 µs; waking up for
#: it takes twenty times that, which is what an idle worker spends.
POLL = 0.005
IDLE_POLL = 0.015
CALM = 1.0


class Tail:
    """The one thread that looks for news and tells the listener; it survives every error."""

    def __init__(self, broker: SQLiteBroker, listener: Listener, start: Cursor) -> None:
        self._broker = broker
        self._listener = listener
        self._at = start
        self._behind = True
        self._news_at = 0.0
        self._lost = False

    def run(self) -> None:
        broker, pause, born = self._broker, POLL, forks.generation
        while not broker._closed:
            broker._poke.wait(pause)
            forks.halt_copy(born)
            broker._poke.clear()
            try:
                self._look()
                pause = POLL if time.monotonic() < self._news_at + CALM else IDLE_POLL
            except BrokerClosed:
                return
            except BrokerUnavailable as error:
                self._tell_lost(str(error))
                pause = min(1.0, pause * 2)
            except BaseException as error:
                survive("the SQLite broker reads on after an error", error)
                self._tell_lost(repr(error))
                pause = min(1.0, pause * 2)

    def _look(self) -> None:
        with self._broker._opened() as file:
            self._behind |= file.events.is_changed()
            renewed = file.epoch != self._at.epoch
            if renewed:
                self._at = file.events.head()
        self._tell_found()
        if renewed:
            attempt(NOT_TAKEN, self._listener.renewed, self._at)
        while self._behind:
            self._take_batch()

    def _take_batch(self) -> None:
        with self._broker._opened() as file, file.reading():
            records, gone = file.events.news(self._at.sequence)
            head = file.events.head() if gone is None else self._at
        if gone is None:
            self._at = head
            attempt(NOT_TAKEN, self._listener.renewed, head)
            return
        self._behind = len(records) == BATCH
        if records:
            self._at = Cursor(self._at.epoch, records[-1].sequence)
            self._news_at = time.monotonic()
        if gone:
            attempt(NOT_TAKEN, self._listener.gap, gone, self._at)
        if records:
            attempt(NOT_TAKEN, self._listener.deliver, records)

    def _tell_lost(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            attempt(NOT_TAKEN, self._listener.lost, reason)

    def _tell_found(self) -> None:
        if self._lost:
            self._lost = False
            attempt(NOT_TAKEN, self._listener.found)
