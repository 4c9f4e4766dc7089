"""The one thread of a process that receives what is announced, and calls the listener. No connection's details."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from typing import Sequence

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.cursor import Cursor
from ...util import forks
from ...util.supervise import survive
from ...util.threads import try_acquire
from ..contract import constants
from ..contract.history import Listener, call_listener
from ..echoes import Echoes
from ..merge import Merge
from ..records import Range, Record
from . import scripts
from .driver import driver
from .reading import list_news, read_channels
from .store import RedisStore
from .subscription import BATCH, CHANNELS, CHECK, TICK, Confirmation, News, Subscription

#: Seconds after which a lost server is looked for again: doubled up to this, and spread.
BACK_OFF = 1.0

#: Seconds between two parts of a new subscription: others run meanwhile, in this process and in the server.
BREATH = 0.001


class RedisDelivery:
    """Runs in one thread; it survives every error.

    :param start: events after this cursor are delivered.
    """

    def __init__(self, store: RedisStore, listener: Listener, start: Cursor) -> None:
        self.cursor = start
        self._store = store
        self._listener = listener
        #: Held while the listener is called, by this thread or by one that has appended an event.
        self._turn = threading.Lock()
        self._changed = threading.Condition()
        self._channels: set[str] = set()
        self._subscription: Subscription | None = None
        self._lost = ""
        self._mark = start.epoch
        self._echoes = Echoes()
        self._is_stopped = False

    # -- called by other threads -------------------------------------------

    def subscribe_channels(self, channels: Sequence[str]) -> None:
        """Return when the server has confirmed a subscription to these channels.

        :raises BrokerUnavailable: it did not within ``WAIT_SECONDS``; at once if the server is lost.
        """
        deadline = time.monotonic() + constants.WAIT_SECONDS
        while True:
            with self._changed:
                confirmation = self._request_channels(channels, deadline)
            if confirmation is None or (confirmation.ended.wait(_remaining(deadline)) and confirmation.is_complete):
                return
            if time.monotonic() >= deadline:
                raise _not_confirmed()

    def _request_channels(self, channels: Sequence[str], deadline: float) -> Confirmation | None:
        """Return what to wait for until these channels are subscribed to. With the lock held."""
        self._channels.update(channels)
        while True:
            if self._subscription is not None:
                confirmation = self._subscription.request_channels(channels)
                if confirmation is None or not self._lost:
                    return confirmation
            if self._lost or self._is_stopped:
                raise BrokerUnavailable(self._lost or "the broker was closed")
            if time.monotonic() >= deadline:
                raise _not_confirmed()
            self._changed.wait(_remaining(deadline))

    def unsubscribe_channel(self, channel: str) -> None:
        with self._changed:
            self._channels.discard(channel)
            if self._subscription is not None:
                self._subscription.drop_channel(channel)

    def deliver_now(self, cursor: Cursor, record: Record) -> bool:
        """Deliver an event from the thread that appended it, if it is the next one; return whether it was delivered.

        If the event before it is on a channel without streams here, this process does not know of that event. Then the
        announcement is awaited, as for all events of other processes.
        """
        self._echoes.note_event()
        if not try_acquire(self._turn):
            return False
        try:
            is_next = cursor == (self.cursor.epoch, self.cursor.sequence + 1)
            if not is_next or self._lost or not self._listener.deliver_now(record):
                return False
            self.cursor = cursor
            return True
        finally:
            self._turn.release()

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    # -- the thread --------------------------------------------------------

    def run(self) -> None:
        pause, born = BACK_OFF / 16, forks.generation
        while not self._is_stopped:
            began = time.monotonic()
            try:
                self._run_session(born)
            except BrokerClosed:
                return
            except BrokerUnavailable as error:
                self._report_lost(str(error))
            except (driver.RedisError, OSError) as error:
                self._report_lost(str(self._store.address.make_refusal(error)))
            except BaseException as error:
                survive("the Redis broker reads on after an error", error)
                self._report_lost("an unexpected %s: see the log" % type(error).__name__)
            if time.monotonic() - began > CHECK:
                pause = BACK_OFF / 16
            with self._changed:
                if not self._is_stopped:
                    self._changed.wait(pause * random.uniform(0.5, 1.0))
            forks.halt_copy(born)
            pause = min(pause * 2, BACK_OFF)

    def _run_session(self, born: int) -> None:
        """Use one connection until it breaks: subscribe, read what was missed, then receive.

        :param born: this process's generation; in a forked child the connection breaks, and this does not return.
        """
        subscription = Subscription(self._store.address, self._store.announced, self._changed)
        try:
            with self._changed:
                self._subscription = subscription
                self._changed.notify_all()
            run = self._store.read_state().run
            self._subscribe_again(subscription)
            with self._turn:
                self._catch_up()
            while not self._is_stopped:
                self._receive(subscription, run)
        finally:
            forks.halt_copy(born)
            with self._changed:
                self._subscription = None
                subscription.close()
                self._changed.notify_all()

    def _subscribe_again(self, subscription: Subscription) -> None:
        """Subscribe to all channels, a part at a time: other callers run in between, and their new channels need not
        wait behind all earlier ones."""
        names, before = self._list_channels(), None
        for start in range(0, len(names), CHANNELS):
            with self._changed:
                part = self._channels.intersection(names[start : start + CHANNELS])
                confirmation = subscription.request_channels(part)
            subscription.wait_for(before)
            before = confirmation
            time.sleep(BREATH)
        subscription.wait_for(before)

    def _receive(self, subscription: Subscription, run: str) -> None:
        """Receive one batch, or check the server while nothing comes."""
        news = subscription.receive(TICK)
        with self._turn:
            self._deliver_news(news)
        self._echoes.gather()
        if not subscription.is_at_owner():
            raise BrokerUnavailable("another node of the Redis Cluster has the keys now")
        if subscription.is_check_due():
            subscription.send_check()
            state = self._store.read_state()
            if state.run != run:
                raise BrokerUnavailable("another server answers: the old one restarted, or a replica took over")
            if state.newest.epoch != self.cursor.epoch:
                with self._turn:
                    self._catch_up()
        with self._changed:
            subscription.unsubscribe_dropped(self._channels)

    # -- with the turn -------------------------------------------------------

    def _deliver_news(self, news: News) -> None:
        """Deliver the announced events that were not delivered yet.

        A message with another mark was announced by another server than the messages before it, or after the history
        began anew: there may be events that were not announced here.
        """
        records: list[Record] = []
        for mark, record in news:
            if mark != self._mark:
                self._deliver(records)
                records = []
                self._catch_up()
            if mark == self._mark and record.sequence > self.cursor.sequence:
                self.cursor = Cursor(self.cursor.epoch, record.sequence)
                records.append(record)
        self._store.note_cursor(self.cursor)
        self._deliver(records)

    def _catch_up(self) -> None:
        """Read from the streams what was announced while no connection was subscribed."""
        state = self._store.read_state()
        self._report_found()
        if state.newest.epoch != self.cursor.epoch:
            self.cursor = state.born
            call_listener(self._listener.begin_epoch, state.born)
        self._mark = state.mark
        newest, missed = state.newest, Range(self.cursor.sequence, state.newest.sequence)
        is_whole = missed.after >= missed.upto
        channels = () if is_whole else self._list_missed(missed.after)
        read_live = partial(read_channels, self._store, scripts.READ_LIVE, newest.epoch)
        merge = Merge(read_live, dict.fromkeys(channels, missed))
        while not is_whole:
            records, gone, is_whole = merge.read_page(BATCH, constants.PAGE_BYTES)
            if records:
                self.cursor = Cursor(newest.epoch, records[-1].sequence)
            self._deliver(records)
            if gone:
                call_listener(self._listener.report_gap, gone, newest)
        self.cursor = newest

    def _list_missed(self, after: int) -> list[str]:
        """Return the subscribed channels that may have events after a sequence."""
        names = list_news(self._store, after)
        return [name for name in self._list_channels() if names is None or name in names]

    def _list_channels(self) -> list[str]:
        with self._changed:
            return list(self._channels)

    # -- the listener ------------------------------------------------------

    def _deliver(self, records: Sequence[Record]) -> None:
        if records:
            call_listener(self._listener.deliver, records)

    def _report_lost(self, reason: str) -> None:
        with self._turn:
            with self._changed:
                before, self._lost = self._lost, reason or "lost"
                self._changed.notify_all()
            if not before:
                call_listener(self._listener.report_lost, self._lost)

    def _report_found(self) -> None:
        if self._lost:
            self._lost = ""
            call_listener(self._listener.report_found)


def _not_confirmed() -> BrokerUnavailable:
    return BrokerUnavailable("the Redis store did not confirm a subscription in %g s" % constants.WAIT_SECONDS)


def _remaining(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
