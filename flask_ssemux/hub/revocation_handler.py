"""Orders carried out on the streams of this process, and who was told to stay away.

The mux hands over what comes on the orders' channel, between the events that came before and those after it.
What may be ordered, and how it travels, is ``revocation.py``'s; no HTTP, no broker but to read old orders from.
"""

from __future__ import annotations

import time
from typing import Callable, Iterable, Iterator, Sequence

from ..brokers import PAGE_BYTES, Broker, Merge, Range, Record
from ..errors import BrokerUnavailable
from ..publishing.revocation import CHANNEL, ROOM_CHANNEL, Revocation, age_of
from ..sse import encode
from ..util.supervise import attempt
from .fanout import SLICE
from .stay_away import StayAway, Target
from .stream import Stream

#: Targets remembered for streams that are being opened: their rules may have been asked before an order came.
RECENT = 10_000

#: Targets that are remembered as told to stay away.
STOPS = 10_000

#: Old orders read at a time.
PAGE = 500


class RevocationHandler:
    """What was ordered.

    :param readers: the streams of a channel, or with None all.
    :param farewell: the last frame of a stream that ends for this reason, and whose client may come back.
    :param breathe: lets the transports take what waits.
    """

    def __init__(
        self,
        readers: Callable[[str | None], Sequence[Stream]],
        farewell: Callable[[str], bytes],
        breathe: Callable[[], None],
    ) -> None:
        self._readers = readers
        self._farewell = farewell
        self._breathe = breathe
        #: Orders that have come.
        self.taken = 0
        #: The last order for each target, and how many had come then; oldest first.
        self._recent: dict[Target, tuple[int, Revocation]] = {}
        #: How many orders had come when the newest was forgotten.
        self._forgotten = 0
        #: The place of the last order to stay away for each target; oldest first.
        self._stops: dict[Target, int] = {}
        #: Those that were told so a moment ago.
        self.stay_away = StayAway()
        #: Ends the oldest stream of a user, if the order is for this process; set where there can be such orders.
        self.evict_oldest: Callable[[Revocation], None] = lambda order: None

    def begin(self, broker: Broker, upto: int) -> None:
        """Orders are wanted from here on; who was told to stay away before is found in the history.

        :raises BrokerUnavailable: the store did not answer.
        """
        upto = max(upto, broker.history.subscribe_channels([CHANNEL, ROOM_CHANNEL]).after)
        for record in _orders(broker, upto):
            attempt("an old order cannot be understood and is left out", self._note_old, record)

    def renew(self, broker: Broker, upto: int) -> None:
        """Carry out the orders that the new life began with, before its events are delivered here."""
        try:
            for record in _orders(broker, upto):
                self.take(record)
        except BrokerUnavailable:
            self.lost()

    def lost(self) -> None:
        """Orders were lost: whoever they were for, all are asked anew."""
        self.call_in_loop(Revocation(reason="orders were lost"))

    def forget_stops(self) -> None:
        """The history began anew: the places of old orders say nothing any more."""
        self._stops.clear()

    def take(self, record: Record) -> None:
        """An order has come. One that fails may have been for anyone: all are asked anew."""
        if record.channel == ROOM_CHANNEL:
            attempt("a user's oldest stream could not be ended", self._make_room, record)
        elif not attempt("an order failed, and all clients are asked anew", self._obey, record):
            self.lost()

    def _make_room(self, record: Record) -> None:
        self.taken += 1
        self.evict_oldest(Revocation.of(record.body))

    def _obey(self, record: Record) -> None:
        order = self._note(record)
        if order.holder is not None:  # from a version that sent these here
            self.evict_oldest(order)
        else:
            self.call_in_loop(order)

    def call_in_loop(self, order: Revocation) -> None:
        """End the streams that are meant; with neither user nor channel, all."""
        self._breathe()  # who reads well has then taken what came before
        meant = [stream for stream in self._readers(order.channel) if _is_meant(stream, order)]
        for number, stream in enumerate(meant, 1):
            self.end_stream(stream, order)
            if number % SLICE == 0:
                self._breathe()

    def check(self, stream: Stream, taken: int) -> None:
        """Carry out, on a stream that has just joined, what came since ``taken`` was so many."""
        if self.taken == taken:
            return
        if taken < self._forgotten:
            self.end_stream(stream, Revocation(reason="it was opened too slowly"))
        for number, order in reversed(list(self._recent.values())):
            if number <= taken:
                break
            if _is_meant(stream, order):
                self.end_stream(stream, order)

    def is_stopped(self, user_id: str | None, channels: Iterable[str], seen: int) -> bool:
        """Whether a client that saw what came up to this place was told since to stay away."""
        names: list[Target] = [(None, channel) for channel in channels]
        if user_id is not None:
            names.append((user_id, None))
        return any(self._stops.get(name, -1) > seen for name in names)

    def end_stream(self, stream: Stream, order: Revocation) -> None:
        """End a stream as an order says."""
        last = self._farewell(order.reason)
        if order.holder is not None:  # it may read what waits: nothing was forbidden
            stream.close(order.reason, last + encode.stay_away("replaced", order.reason))
        else:
            end_forbidden_stream(
                stream, order.reason, last + (encode.stay_away("stop", order.reason) if order.stop else b"")
            )

    def _note_old(self, record: Record) -> None:
        self._note(record, age_of(record.body))

    def _note(self, record: Record, age: float = 0.0) -> Revocation:
        """
        :param age: of an old order, in seconds. Of one that has just come it is not asked: clocks may differ.
        """
        order = Revocation.of(record.body)
        self.taken += 1
        if order.holder is not None:
            return order
        target = order.user, order.channel
        self._recent.pop(target, None)
        self._recent[target] = self.taken, order
        if len(self._recent) > RECENT:
            self._forgotten, _ = self._recent.pop(next(iter(self._recent)))
        if order.stop:
            self.stay_away.add(target, time.monotonic(), age)
            # Old orders are read while new ones come.
            self._stops[target] = max(record.sequence, self._stops.pop(target, 0))
            if len(self._stops) > STOPS:
                del self._stops[next(iter(self._stops))]
        return order


def _orders(broker: Broker, upto: int) -> Iterator[Record]:
    """The orders that are kept, up to a place, oldest first."""
    merge, is_whole = Merge(broker.history.read_channels, {CHANNEL: Range(0, upto)}), False
    while not is_whole:
        records, _, is_whole = merge.read_page(PAGE, PAGE_BYTES)
        yield from records


def end_forbidden_stream(stream: Stream, reason: str, last: bytes) -> None:
    """End a stream that its client may no longer read: cleanly, unless that would let it read what still waits."""
    if stream.has_replay_left() or stream.queue_size[0]:
        stream.abort(reason)
    else:
        stream.close(reason, last)


def _is_meant(stream: Stream, order: Revocation) -> bool:
    of_user = order.user is None or stream.user_id == order.user
    return of_user and (order.channel is None or order.channel in stream.channels)
