"""Evict oldest: end a user's oldest stream to make room for the next one. Only for ``SSEMUX_OVER_USER_LIMIT=oldest``.

Each process knows the order of its own streams, and announces in the broker since when it has each user's oldest one. A
process that needs room sends a revocation message to the process that has the oldest stream of all. How many streams a
user may have is counted in ``user_limit.py``.
"""

from __future__ import annotations

import threading
import time
from typing import Callable

from ..brokers import Broker
from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..publishing.revocation import EVICTION_CHANNEL, Revocation
from ..sse import encode
from ..util.background import run_in_background
from .eviction_backoff import EvictionBackoff

#: What the client of the oldest stream reads.
REASON = "the user opened more streams than one may hold (SSEMUX_MAX_STREAMS_PER_USER), and this was the oldest"

#: Seconds within which the process that has the user's oldest stream must end it; after that, the new stream is
#: refused.
EVICTION_TIMEOUT = 2.0

#: The maximum seconds that a new stream waits while evictions are delayed. A page that opens the next stream at once,
#: whatever the answer to the last one was, sends no more requests than that.
MAX_WAIT = 5.0

#: The maximum number of new streams of one user that wait: they use server capacity meanwhile.
MAX_WAITING = 4


class OldestEviction:
    """The streams of each user in this process, oldest first.

    :param end_stream: ends a stream as a revocation says.
    :param limit: the per-user limit.
    """

    def __init__(self, broker: Broker, end_stream: Callable[[Stream, Revocation], None], limit: int = 1) -> None:
        self._broker = broker
        self._end_stream = end_stream
        self._lock = threading.Lock()
        self._announcing = threading.Lock()
        self._streams: dict[str, dict[Stream, float]] = {}
        self._backoff = EvictionBackoff(limit)
        #: How many new streams of each user wait here.
        self._waiting: dict[str, int] = {}

    def add_stream(self, stream: Stream) -> None:
        """A stream was opened."""
        if stream.user_id is None:
            return
        with self._lock:
            if stream.state is CLOSED:  # it ended before it was added
                return
            streams = self._streams.setdefault(stream.user_id, {})
            streams[stream] = time.time()
            is_oldest = len(streams) == 1
        if is_oldest:
            self._announce_oldest(stream.user_id)

    def remove_stream(self, stream: Stream) -> None:
        """A stream has ended. Further calls do nothing."""
        if self._forget_stream(stream):
            self._announce_oldest(str(stream.user_id))

    def evict_and_take(self, user_id: str, take_user_slot: Callable[[], bool]) -> bool:
        """Evict the user's oldest stream for a new one; return whether a user slot was taken.

        :param take_user_slot: takes a slot and returns whether there was one.
        :raises BrokerUnavailable: the oldest stream was not found, or the message was not accepted.
        """
        delay = self._backoff.get_delay(user_id, time.monotonic())
        if delay > 0:
            if self._wait_for_user_slot(user_id, take_user_slot, min(delay, MAX_WAIT)):
                return True
            if self._backoff.get_delay(user_id, time.monotonic()) > 0:
                return False
        self.request_eviction(user_id)
        return _retry(take_user_slot, EVICTION_TIMEOUT)

    def _wait_for_user_slot(self, user_id: str, take_user_slot: Callable[[], bool], seconds: float) -> bool:
        """Wait for a slot that becomes free without an eviction; return whether it was taken."""
        with self._lock:
            if self._waiting.get(user_id, 0) >= MAX_WAITING:
                return False
            self._waiting[user_id] = self._waiting.get(user_id, 0) + 1
        try:
            return _retry(take_user_slot, seconds)
        finally:
            with self._lock:
                self._waiting[user_id] -= 1
                if not self._waiting[user_id]:
                    del self._waiting[user_id]

    def request_eviction(self, user_id: str) -> None:
        """Send a message to the process that has the oldest stream of this user: it must end that stream.

        :raises BrokerUnavailable: the oldest stream was not found, or the message was not accepted.
        """
        holder = self._broker.leases.find_oldest_slot_holder(encode.user_channel(user_id))
        if holder is not None:
            self._broker.history.append_event(
                EVICTION_CHANNEL, Revocation(user_id, None, True, REASON, holder).to_json()
            )

    def handle_eviction(self, revocation: Revocation) -> None:
        """Note the eviction, and end the user's oldest stream if the message is for this process."""
        if revocation.user is not None:
            self._backoff.note_eviction(revocation.user, time.monotonic())
        if revocation.holder != self._broker.process_name or revocation.user is None:
            return
        with self._lock:
            oldest = next(iter(self._streams.get(revocation.user, ())), None)
        if oldest is not None:
            if self._forget_stream(oldest):  # the next message is for the next stream
                run_in_background("ssemux-evict", self._announce_oldest, revocation.user)
            self._end_stream(oldest, revocation)

    def _forget_stream(self, stream: Stream) -> bool:
        """Return whether the stream was its user's oldest one in this process."""
        with self._lock:
            streams = self._streams.get(stream.user_id or "", {})
            was_oldest = stream in streams and next(iter(streams)) is stream
            streams.pop(stream, None)
            if not streams:
                self._streams.pop(stream.user_id or "", None)
        return was_oldest

    def _announce_oldest(self, user_id: str) -> None:
        with self._announcing:  # so that the last announcement is the newest
            with self._lock:
                since = next(iter(self._streams.get(user_id, {}).values()), None)
            self._broker.leases.announce_oldest_slot(encode.user_channel(user_id), since)


def _retry(take_user_slot: Callable[[], bool], seconds: float) -> bool:
    """Try again and again for so many seconds; return whether a slot was taken."""
    deadline, pause = time.monotonic() + seconds, 0.02
    while time.monotonic() < deadline:
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        if take_user_slot():
            return True
        pause *= 1.5
    return False
