"""Who makes room for a user's next stream: the oldest, wherever it is. Only for ``SSEMUX_OVER_USER_LIMIT=oldest``.

Each process knows the order of its own streams, and shows the others since when it has each user's oldest. Whoever
needs room orders the process that has the oldest of all to end it. No limits are counted here.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from ..brokers import Broker
from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..publishing.revocation import ROOM_CHANNEL, Revocation
from ..sse import encode
from ..util.background import run_in_background
from .evict_turns import EvictionTurns

#: What the client of the oldest is told.
REASON = "the user opened more streams than one may hold (SSEMUX_MAX_STREAMS_PER_USER), and this was the oldest"

#: Seconds that the process which has a user's oldest stream has to end it, before the new one is sent away.
MAKE_ROOM = 2.0

#: Seconds that a new stream waits for its user's turn, at most. A page that opens the next one at once, whatever it is
#: answered, asks no more often.
WAIT = 5.0

#: Streams of one user that wait here, at most: no user holds many of the server's slots by waiting.
WAITING = 4


class OldestEviction:
    """The streams of each user in this process, oldest first.

    :param end: ends a stream as an order says.
    :param limit: streams that a user may hold.
    """

    def __init__(self, broker: Broker, end: Callable[[Stream, Revocation], None], limit: int = 1) -> None:
        self._broker = broker
        self._end = end
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._of: dict[str, dict[Stream, float]] = {}
        self._turns = EvictionTurns(limit)
        #: How many new streams of each user wait here for their turn.
        self._waiting: dict[str, int] = {}

    def add_stream(self, stream: Stream) -> None:
        if stream.user_id is not None:
            with self._lock:
                if stream.state is CLOSED:  # it left before it was known here
                    return
                streams = self._of.setdefault(stream.user_id, {})
                streams[stream] = time.time()
                is_oldest = len(streams) == 1
            if is_oldest:
                self._tell(stream.user_id)

    def remove_stream(self, stream: Stream) -> None:
        """More than once is fine."""
        if self._take_out(stream):
            self._tell(str(stream.user_id))

    def take_over(self, user_id: str, take: Callable[[], bool]) -> bool:
        """Have the user's oldest stream ended for a new one; whether there is a place for it now.

        :param take: takes a place, if there is one.
        :raises BrokerUnavailable: nobody can tell which is the oldest, or the order was not accepted.
        """
        pause = self._turns.due_in(user_id, time.monotonic())
        if pause > 0:
            if self._wait_for_turn(user_id, take, min(pause, WAIT)):
                return True
            if self._turns.due_in(user_id, time.monotonic()) > 0:
                return False
        self.make_room(user_id)
        return _wait(take, MAKE_ROOM)

    def _wait_for_turn(self, user_id: str, take: Callable[[], bool], seconds: float) -> bool:
        """Wait for a place that becomes free by itself; whether one was taken."""
        with self._lock:
            if self._waiting.get(user_id, 0) >= WAITING:
                return False
            self._waiting[user_id] = self._waiting.get(user_id, 0) + 1
        try:
            return _wait(take, seconds)
        finally:
            with self._lock:
                self._waiting[user_id] -= 1
                if not self._waiting[user_id]:
                    del self._waiting[user_id]

    def make_room(self, user_id: str) -> None:
        """Order that the oldest stream of this user be ended, in whatever process it is.

        :raises BrokerUnavailable: nobody can tell which it is, or the order was not accepted.
        """
        holder = self._broker.leases.find_oldest_slot_holder(encode.user_channel(user_id))
        if holder is not None:
            self._broker.history.append_event(ROOM_CHANNEL, Revocation(user_id, None, True, REASON, holder).body())

    def replace(self, order: Revocation) -> None:
        """Carry such an order out, if it is for this process; whoever it is for, it was the user's turn."""
        if order.user is not None:
            self._turns.take(order.user, time.monotonic())
        if order.holder != self._broker.process_name or order.user is None:
            return
        with self._lock:
            oldest = next(iter(self._of.get(order.user, ())), None)
        if oldest is not None:
            if self._take_out(oldest):  # the next order is for the next
                run_in_background("ssemux-evict", self._tell, order.user)
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
            self._broker.leases.announce_oldest_slot(encode.user_channel(user_id), since)


def _wait(take: Callable[[], bool], seconds: float) -> bool:
    """Whether a place could be taken within so many seconds."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while time.monotonic() < deadline:
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        if take():
            return True
        pause *= 1.5
    return False
