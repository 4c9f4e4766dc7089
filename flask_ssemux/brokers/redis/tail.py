"""The one thread of a process that hears what is announced, and tells the listener. No connection's details."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Sequence

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.encode import Cursor
from ...util import forks
from ...util.supervise import attempt, survive
from .. import base
from ..base import NOT_TAKEN, Listener, Range, Record
from ..merge import Merge
from .address import driver
from .subscription import BATCH, CHANNELS, CHECK, TICK, Confirmation, News, Subscription

if TYPE_CHECKING:
    from .broker import RedisBroker

#: Seconds after which a lost server is looked for again, doubled up to this, spread.
BACK_OFF = 1.0

#: Seconds between two parts of what is subscribed to anew: then others run, in this process and in the server.
BREATH = 0.001


class Tail:
    """The one thread that hears what is announced and tells the listener; it survives every error.

    :param start: what was announced after this is told.
    """

    def __init__(self, broker: RedisBroker, listener: Listener, start: Cursor) -> None:
        self.at = start
        self._broker = broker
        self._listener = listener
        self._changed = threading.Condition()
        self._wanted: set[str] = set()
        self._subscription: Subscription | None = None
        self._lost = ""
        self._closed = False

    # -- what others ask of it ---------------------------------------------

    def want(self, channels: Sequence[str]) -> None:
        """Return when these channels are subscribed to.

        :raises BrokerUnavailable: they are not, within ``WAIT`` seconds; at once if the server is lost.
        """
        deadline = time.monotonic() + base.WAIT
        while True:
            with self._changed:
                confirmation = self._ask_for(channels, deadline)
            if confirmation is None or (confirmation.ended.wait(_left(deadline)) and confirmation.is_whole):
                return
            if time.monotonic() >= deadline:
                raise BrokerUnavailable("the Redis store did not confirm a subscription in %g s" % base.WAIT)

    def _ask_for(self, channels: Sequence[str], deadline: float) -> Confirmation | None:
        """What to wait for until these are subscribed to. With the lock held."""
        self._wanted.update(channels)
        while True:
            if self._subscription is not None:
                confirmation = self._subscription.want(channels)
                if confirmation is None or not self._lost:
                    return confirmation
            if self._lost or self._closed:
                raise BrokerUnavailable(self._lost or "the broker was closed")
            if time.monotonic() >= deadline:
                raise BrokerUnavailable("the Redis store did not confirm a subscription in %g s" % base.WAIT)
            self._changed.wait(_left(deadline))

    def drop(self, channel: str) -> None:
        with self._changed:
            self._wanted.discard(channel)
            if self._subscription is not None:
                self._subscription.drop(channel)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- the thread --------------------------------------------------------

    def run(self) -> None:
        pause, born = BACK_OFF / 16, forks.generation
        while not self._closed:
            began = time.monotonic()
            try:
                self._session(born)
            except BrokerClosed:
                return
            except (BrokerUnavailable, driver.RedisError, OSError) as error:
                self._tell_lost(str(error))
            except BaseException as error:
                survive("the Redis broker reads on after an error", error)
                self._tell_lost(repr(error))
            if time.monotonic() - began > CHECK:
                pause = BACK_OFF / 16
            with self._changed:
                if not self._closed:
                    self._changed.wait(pause * random.uniform(0.5, 1.0))
            forks.halt_copy(born)
            pause = min(pause * 2, BACK_OFF)

    def _session(self, born: int) -> None:
        """Hear, from one connection, until it breaks: subscribe, read what was missed, then live.

        :param born: this process's generation; in a forked child the connection breaks, and this does not return.
        """
        subscription = Subscription(self._broker._address, self._broker._announced, self._changed)
        try:
            with self._changed:
                self._subscription = subscription
                self._changed.notify_all()
            run = self._broker.look().run
            self._subscribe(subscription)
            self._catch_up()
            while not self._closed:
                self._hear(subscription, run)
        finally:
            forks.halt_copy(born)
            with self._changed:
                self._subscription = None
                subscription.close()
                self._changed.notify_all()

    def _subscribe(self, subscription: Subscription) -> None:
        """Subscribe to what is wanted, a part at a time: others run in between, and their new channels need not wait
        behind all that were wanted before."""
        names, before = self._wanted_now(), None
        for start in range(0, len(names), CHANNELS):
            with self._changed:
                asked = subscription.want(self._wanted.intersection(names[start : start + CHANNELS]))
            subscription.wait_for(before)
            before = asked
            time.sleep(BREATH)
        subscription.wait_for(before)

    def _hear(self, subscription: Subscription, run: str) -> None:
        """One batch, or one look while nothing comes."""
        self._take(subscription.take(TICK))
        if subscription.is_due():
            subscription.ask()
            look = self._broker.look()
            if look.run != run:
                raise BrokerUnavailable("another server answers: the old one restarted, or a replica took over")
            if look.head.epoch != self.at.epoch:
                self._catch_up()
        with self._changed:
            subscription.keep(self._wanted)

    def _take(self, news: News) -> None:
        records: list[Record] = []
        for epoch, record in news:
            if epoch != self.at.epoch:
                self._deliver(records)
                records = []
                self._catch_up()
            if epoch == self.at.epoch and record.sequence > self.at.sequence:
                self.at = Cursor(epoch, record.sequence)
                records.append(record)
        self._broker.know(self.at)
        self._deliver(records)

    def _catch_up(self) -> None:
        """What was announced while nobody heard it is in the streams."""
        look = self._broker.look()
        self._tell_found()
        if look.head.epoch != self.at.epoch:
            self.at = look.born
            self._tell(self._listener.renewed, look.born)
        head, missed = look.head, Range(self.at.sequence, look.head.sequence)
        is_whole = missed.after >= missed.upto
        merge = Merge(self._broker.read_live, dict.fromkeys(() if is_whole else self._missed(missed.after), missed))
        while not is_whole:
            records, gone, is_whole = merge.page(BATCH, base.PAGE_BYTES)
            if records:
                self.at = Cursor(head.epoch, records[-1].sequence)
            self._deliver(records)
            if gone:
                self._tell(self._listener.gap, gone, head)
        self.at = head

    def _missed(self, after: int) -> list[str]:
        """The wanted channels that may have events after a place."""
        names = self._broker.has_news(after)
        return [name for name in self._wanted_now() if names is None or name in names]

    def _wanted_now(self) -> list[str]:
        with self._changed:
            return list(self._wanted)

    def _deliver(self, records: Sequence[Record]) -> None:
        if records:
            self._tell(self._listener.deliver, records)

    def _tell_lost(self, reason: str) -> None:
        with self._changed:
            was, self._lost = self._lost, reason or "lost"
            self._changed.notify_all()
        if not was:
            self._tell(self._listener.lost, self._lost)

    def _tell_found(self) -> None:
        if self._lost:
            self._lost = ""
            self._tell(self._listener.found)

    def _tell(self, function: Callable[..., None], *values: Any) -> None:
        attempt(NOT_TAKEN, function, *values)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
