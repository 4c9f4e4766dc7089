"""Who makes room for a user's next stream: the oldest, wherever it is. Only for ``SSEMUX_OVER_USER_LIMIT=oldest``.

Each process knows the order of its own streams, and shows the others since when it has each user's oldest. Whoever
needs room orders the process that has the oldest of all to end it. No limits are counted here.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from .. import wire
from ..aside import aside
from ..brokers import Broker
from ..stream import Stream
from .orders import ROOM_CHANNEL, Order

#: What the client of the oldest is told.
REASON = "the user opened more streams than one may hold (SSEMUX_MAX_STREAMS_PER_USER), and this was the oldest"


class Elders:
    """The streams of each user in this process, oldest first.

    :param end: ends a stream as an order says.
    """

    def __init__(self, broker: Broker, end: Callable[[Stream, Order], None]) -> None:
        self._broker = broker
        self._end = end
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._of: dict[str, dict[Stream, float]] = {}

    def joined(self, stream: Stream) -> None:
        if stream.user_id is not None:
            with self._lock:
                streams = self._of.setdefault(stream.user_id, {})
                streams[stream] = time.time()
                is_oldest = len(streams) == 1
            if is_oldest:
                self._tell(stream.user_id)

    def left(self, stream: Stream) -> None:
        """More than once is fine."""
        if self._take_out(stream):
            self._tell(str(stream.user_id))

    def make_room(self, user_id: str) -> None:
        """Order that the oldest stream of this user be ended, in whatever process it is.

        :raises BrokerUnavailable: nobody can tell which it is, or the order was not accepted.
        """
        holder = self._broker.oldest(wire.user_channel(user_id))
        if holder is not None:
            self._broker.append(ROOM_CHANNEL, Order(user_id, None, True, REASON, holder).body())

    def replace(self, order: Order) -> None:
        """Carry such an order out, if it is for this process."""
        if order.holder != self._broker.holder or order.user is None:
            return
        with self._lock:
            oldest = next(iter(self._of.get(order.user, ())), None)
        if oldest is not None:
            if self._take_out(oldest):  # the next order is for the next
                aside("ssemux-elders", self._tell, order.user)
            self._end(oldest, order)

    def _take_out(self, stream: Stream) -> bool:
        """Whether it was the oldest of its user."""
        with self._lock:
            streams = self._of.get(stream.user_id or "", {})
            was_oldest = stream in streams and next(iter(streams)) is stream
            streams.pop(stream, None)
            if not streams:
                self._of.pop(stream.user_id or "", None)
        return was_oldest

    def _tell(self, user_id: str) -> None:
        with self._telling:  # the last to tell tells what is so
            with self._lock:
                since = next(iter(self._of.get(user_id, {}).values()), None)
            self._broker.show_oldest(wire.user_channel(user_id), since)
