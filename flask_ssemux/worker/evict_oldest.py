"""Evict oldest: end a user's oldest stream to make room for the next one. Only for ``SSEMUX_OVER_USER_LIMIT=oldest``.

Each process knows the order of its own streams, and announces in the broker since when it has each user's oldest one. A
process that needs room sends a revocation message to the process that has the oldest stream of all. How many streams a
user may have is counted in ``user_limit.py``.
"""

from __future__ import annotations

import itertools
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


class Opening:
    """A stream that has its user slot, and is being opened: its snapshots may take a while.

    :param request: the eviction request that made room for it; "" if a slot was free.
    """

    __slots__ = ("request", "eviction")

    def __init__(self, request: str) -> None:
        self.request = request
        #: The message that ends the stream as soon as it is open.
        self.eviction: Revocation | None = None


class OldestEviction:
    """The streams of each user in this process, oldest first, and those that are being opened.

    :param end_stream: ends a stream as a revocation says.
    :param limit: the per-user limit.
    """

    def __init__(self, broker: Broker, end_stream: Callable[[Stream, Revocation], None], limit: int = 1) -> None:
        self._broker = broker
        self._end_stream = end_stream
        self._lock = threading.Lock()
        self._announcing = threading.Lock()
        self._streams: dict[str, dict[Stream, float]] = {}
        self._openings: dict[str, list[Opening]] = {}
        #: The eviction requests that made room for open streams.
        self._requests: dict[Stream, str] = {}
        self._request_numbers = itertools.count(1)
        self._backoff = EvictionBackoff(limit)
        #: How many new streams of each user wait here.
        self._waiting: dict[str, int] = {}

    def begin_opening(self, user_id: str, request: str = "") -> Opening:
        """A stream got its user slot, and is being opened. ``add_stream`` or ``end_opening`` must follow.

        :param request: what ``evict_and_take`` returned; "" if a slot was free.
        """
        opening = Opening(request)
        with self._lock:
            self._openings.setdefault(user_id, []).append(opening)
        return opening

    def end_opening(self, user_id: str, opening: Opening) -> None:
        """The stream is open, or could not be opened. Further calls do nothing."""
        with self._lock:
            self._forget_opening(user_id, opening)

    def add_stream(self, stream: Stream, opening: Opening | None = None) -> None:
        """A stream was opened."""
        if stream.user_id is None:
            return
        with self._lock:
            if opening is not None:
                self._forget_opening(stream.user_id, opening)
            if stream.state is CLOSED:  # it ended before it was added
                return
            eviction = None if opening is None else opening.eviction
            is_oldest = eviction is None and self._note_stream(stream, "" if opening is None else opening.request)
        if eviction is not None:
            self._end_stream(stream, eviction)
        elif is_oldest:
            self._announce_oldest(stream.user_id)

    def remove_stream(self, stream: Stream) -> None:
        """A stream has ended. Further calls do nothing."""
        if self._forget_stream(stream):
            self._announce_oldest(str(stream.user_id))

    def evict_and_take(self, user_id: str, take_user_slot: Callable[[], bool]) -> str:
        """Evict the user's oldest stream for a new one; return the name of the request, or "" if no slot was taken.

        :param take_user_slot: takes a slot and returns whether there was one.
        :raises BrokerUnavailable: the oldest stream was not found, or the message was not accepted.
        """
        request = "%s %d" % (self._broker.process_name, next(self._request_numbers))
        return request if self._evict_and_take(user_id, take_user_slot, request) else ""

    def _evict_and_take(self, user_id: str, take_user_slot: Callable[[], bool], request: str) -> bool:
        delay = self._backoff.get_delay(user_id, time.monotonic())
        if delay > 0:
            if self._wait_for_user_slot(user_id, take_user_slot, min(delay, MAX_WAIT)):
                return True
            if self._backoff.get_delay(user_id, time.monotonic()) > 0:
                return False
        self.request_eviction(user_id, request)
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

    def request_eviction(self, user_id: str, request: str | None = None) -> None:
        """Send a message to the process that has the oldest stream of this user: it must end that stream.

        :param request: the name of the request that needs the room.
        :raises BrokerUnavailable: the oldest stream was not found, or the message was not accepted.
        """
        holder = self._broker.leases.find_oldest_slot_holder(encode.user_channel(user_id))
        if holder is not None:
            message = Revocation(user_id, None, True, REASON, holder, request)
            self._broker.history.append_event(EVICTION_CHANNEL, message.to_json())

    def handle_eviction(self, revocation: Revocation) -> None:
        """Note the eviction, and end the user's oldest stream if the message is for this process.

        If the user has no stream here, the one that is being opened ends when it is open: it has the slot.
        """
        if revocation.user is not None:
            self._backoff.note_eviction(revocation.user, time.monotonic())
        if revocation.holder != self._broker.process_name or revocation.user is None:
            return
        with self._lock:
            oldest = next(iter(self._streams.get(revocation.user, ())), None)
            if oldest is None:
                self._condemn_opening(revocation.user, revocation)
            elif revocation.by is not None and self._requests.get(oldest) == revocation.by:
                oldest = None  # the stream that needed room found it elsewhere
        if oldest is not None:
            if self._forget_stream(oldest):  # the next message is for the next stream
                run_in_background("ssemux-evict", self._announce_oldest, revocation.user)
            self._end_stream(oldest, revocation)

    def _note_stream(self, stream: Stream, request: str) -> bool:
        """With the lock held. Return whether the stream is its user's oldest one in this process."""
        streams = self._streams.setdefault(str(stream.user_id), {})
        streams[stream] = time.time()
        if request:
            self._requests[stream] = request
        return len(streams) == 1

    def _forget_opening(self, user_id: str, opening: Opening) -> None:
        """With the lock held."""
        openings = self._openings.get(user_id, [])
        if opening in openings:
            openings.remove(opening)
            if not openings:
                del self._openings[user_id]

    def _condemn_opening(self, user_id: str, revocation: Revocation) -> None:
        """With the lock held."""
        for opening in self._openings.get(user_id, ()):
            if opening.eviction is None and (revocation.by is None or opening.request != revocation.by):
                opening.eviction = revocation
                return

    def _forget_stream(self, stream: Stream) -> bool:
        """Return whether the stream was its user's oldest one in this process."""
        with self._lock:
            streams = self._streams.get(stream.user_id or "", {})
            was_oldest = stream in streams and next(iter(streams)) is stream
            streams.pop(stream, None)
            self._requests.pop(stream, None)
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
