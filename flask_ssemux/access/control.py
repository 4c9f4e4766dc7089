"""Orders carried out on the streams of this process, and who was told to stay away.

The mux hands over what comes on the orders' channel, between the events that came before and those after it.
What may be ordered, and how it travels, is ``orders.py``'s; no HTTP, no broker but to read old orders from.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Iterable, Iterator, Sequence

from .. import wire
from ..brokers import Broker, Merge, Range, Record
from ..brokers.base import PAGE_BYTES
from ..errors import BrokerUnavailable
from ..fanout import SLICE
from ..options import log
from ..stream import Stream
from .orders import CHANNEL, Order

#: Orders remembered for streams that are being opened: their rules may have been asked before an order came.
RECENT = 1000

#: Old orders read at a time.
PAGE = 500


class Control:
    """What was ordered.

    :param readers: the streams of a channel, or with None all.
    :param farewell: the last frame of a stream that ends for this reason, and whose client may come back.
    :param breathe: lets the transports take what waits.
    :param most: users and channels that are remembered as told to stay away.
    """

    def __init__(
        self,
        readers: Callable[[str | None], Sequence[Stream]],
        farewell: Callable[[str], bytes],
        breathe: Callable[[], None],
        most: int,
    ) -> None:
        self._readers = readers
        self._farewell = farewell
        self._breathe = breathe
        self._most = most
        #: Orders that have come.
        self.taken = 0
        self._recent: deque[Order] = deque(maxlen=RECENT)
        #: By user and channel, the place of the last order to stay away; oldest first.
        self._stops: dict[tuple[str | None, str | None], int] = {}
        #: Ends the oldest stream of a user, if the order is for this process; set where there can be such orders.
        self.replace: Callable[[Order], None] = lambda order: None

    def begin(self, broker: Broker, upto: int) -> None:
        """Orders are wanted from here on; who was told to stay away before is found in the history.

        :raises BrokerUnavailable: the store did not answer.
        """
        upto = max(upto, broker.want([CHANNEL]).place)
        for record in _orders(broker, upto):
            self._note(record)

    def renew(self, broker: Broker, upto: int) -> None:
        """Carry out the orders that the new life began with, before its events are delivered here."""
        try:
            for record in _orders(broker, upto):
                self.take(record)
        except BrokerUnavailable:
            self.lost()

    def lost(self) -> None:
        """Orders were lost: whoever they were for, all are asked anew."""
        self.carry_out(Order(reason="orders were lost"))

    def begin_anew(self) -> None:
        """The history began anew: the places of old orders say nothing any more."""
        self._stops.clear()

    def take(self, record: Record) -> None:
        """An order has come."""
        order = self._note(record)
        if order is not None and order.holder is not None:
            self.replace(order)
        elif order is not None:
            self.carry_out(order)

    def carry_out(self, order: Order) -> None:
        """End the streams that are meant; with neither user nor channel, all."""
        self._breathe()  # who reads well has then taken what came before
        meant = [stream for stream in self._readers(order.channel) if _is_meant(stream, order)]
        for number, stream in enumerate(meant, 1):
            self.end(stream, order)
            if number % SLICE == 0:
                self._breathe()

    def check(self, stream: Stream, taken: int) -> None:
        """Carry out, on a stream that has just joined, what came since ``taken`` was so many."""
        missed = self.taken - taken
        recent = list(self._recent)
        if missed > len(recent):
            self.end(stream, Order(reason="it was opened too slowly"))
        for order in recent[max(0, len(recent) - missed) :]:
            if order.holder is None and _is_meant(stream, order):
                self.end(stream, order)

    def is_stopped(self, user_id: str | None, channels: Iterable[str], seen: int) -> bool:
        """Whether a client that saw what came up to this place was told since to stay away."""
        names: list[tuple[str | None, str | None]] = [(None, channel) for channel in channels]
        if user_id is not None:
            names.append((user_id, None))
        return any(self._stops.get(name, -1) > seen for name in names)

    def end(self, stream: Stream, order: Order) -> None:
        """End a stream as an order says."""
        last = self._farewell(order.reason)
        if order.holder is not None:  # it may read what waits: nothing was forbidden
            stream.close(order.reason, last + wire.stay_away("replaced", order.reason))
        else:
            end(stream, order.reason, last + (wire.stay_away("stop", order.reason) if order.stop else b""))

    def _note(self, record: Record) -> Order | None:
        try:
            order = Order.of(record.body)
        except ValueError as error:
            log.error("an order that cannot be understood is left out: %s: %r", error, record.body)
            return None
        self._recent.append(order)
        self.taken += 1
        if order.stop and order.holder is None:
            name = order.user, order.channel
            # Old orders are read while new ones come.
            self._stops[name] = max(record.sequence, self._stops.pop(name, 0))
            if len(self._stops) > self._most:
                del self._stops[next(iter(self._stops))]
        return order


def _orders(broker: Broker, upto: int) -> Iterator[Record]:
    """The orders that are kept, up to a place, oldest first."""
    merge, is_whole = Merge(broker.read_channels, {CHANNEL: Range(0, upto)}), False
    while not is_whole:
        records, _, is_whole = merge.page(PAGE, PAGE_BYTES)
        yield from records


def end(stream: Stream, reason: str, last: bytes) -> None:
    """End a stream that its client may no longer read: cleanly, unless that would let it read what still waits."""
    if stream.has_replay_left() or stream.waiting[0]:
        stream.abort(reason)
    else:
        stream.close(reason, last)


def _is_meant(stream: Stream, order: Order) -> bool:
    of_user = order.user is None or stream.user_id == order.user
    return of_user and (order.channel is None or order.channel in stream.channels)
