"""Whether there is room for one more stream: server capacity, worker limit and user limit, in this order.

``Admission.admit`` takes the room and returns a permit; ``Permit.release`` gives the room back. What a client may
read is decided in ``access``, whether it must stay away in ``hub``. No stream is opened here, and no response is made.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from ..hub.stream import Stream
from ..options import Options, log
from ..util import forks
from .capacity import UNKNOWN, ServerCapacity
from .evict_oldest import OldestEviction, Opening
from .open_streams import Obstacle, OpenStreams, StreamNumbers, WrappedStream
from .user_limit import UserLimit

#: Seconds that a request waits for server capacity if its stream will be handed over: each stream that is being opened
#: before it uses capacity only for a moment.
WAIT_FOR_CAPACITY = 1.0


class NoRoom(Exception):
    """There is no room for one more stream.

    :param reason: for the client and the log.
    :param is_stopping: the worker is about to stop, and another worker may have room at once.
    """

    def __init__(self, reason: str, is_stopping: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_stopping = is_stopping


class Permit:
    """Room for one stream: it counts as open in this worker, and it has one of its user's slots.

    The owner sets ``stream`` when the stream is open: the end of the stream gives the room back then. If anything
    fails, before or after that, the owner calls ``release``.
    """

    def __init__(self, streams: OpenStreams, user_limit: UserLimit, eviction: OldestEviction | None = None) -> None:
        self._streams = streams
        self._user_limit = user_limit
        self._eviction = eviction
        #: The user whose slot this permit holds.
        self.user_id: str | None = None
        #: The open stream.
        self.stream: Stream | None = None
        #: What the eviction of the oldest stream knows of the stream before it is open.
        self.opening: Opening | None = None
        self._is_held = True

    def release(self, reason: str = "its request failed") -> None:
        """Give back the room, and end the stream if there is one. Every call after the first does nothing."""
        if self._eviction is not None and self.opening is not None:
            self._eviction.end_opening(str(self.user_id), self.opening)
        if self.stream is not None:
            self.stream.mark_closed(reason)
        elif self._is_held:
            self._is_held = False
            self._streams.remove_stream()
            self._user_limit.release_user_slot(self.user_id)


class Admission:
    """Decides whether one more stream may be opened in this process.

    :param streams: the open streams of the application.
    :param capacity: of the server; None if it has no limit.
    :param max_streams: the worker limit.
    :param eviction: ends a user's oldest stream to make room; None if the new stream is refused instead.
    """

    def __init__(
        self,
        streams: OpenStreams,
        user_limit: UserLimit,
        eviction: OldestEviction | None,
        capacity: ServerCapacity | None,
        max_streams: int,
        options: Options,
    ) -> None:
        self._streams = streams
        self._user_limit = user_limit
        self._eviction = eviction
        self._capacity = capacity
        self.limits = StreamNumbers(max_streams, _limit_capacity(capacity, options.max_streams))

    def admit(self, user_id: str | None, is_handed_over: bool = False) -> Permit:
        """Take room for one more stream, in this worker and among its user's.

        :param is_handed_over: the stream will use server capacity only while it is opened.
        :raises NoRoom: there is none.
        :raises BrokerUnavailable: the streams of the user cannot be counted.
        """
        obstacle = self._streams.add_stream(self.limits)
        if obstacle is Obstacle.CAPACITY and is_handed_over:
            obstacle = self._wait_for_capacity()
        if obstacle is not None:
            raise self._refuse(obstacle)
        permit = Permit(self._streams, self._user_limit, self._eviction)
        try:
            request = self._take_user_slot(user_id)
            permit.user_id = user_id
            if self._eviction is not None and user_id is not None:
                permit.opening = self._eviction.begin_opening(user_id, request)
            if self._streams.drain_reason is not None:  # taking the user slot may have waited
                raise self._refuse(Obstacle.DRAIN)
        except BaseException:
            permit.release()
            raise
        return permit

    def admit_wrapped(self, stream: WrappedStream) -> None:
        """Take room for a wrapped stream. ``OpenStreams.remove_wrapped`` gives it back.

        :raises NoRoom: there is none.
        """
        obstacle = self._streams.expect_wrapped(stream, self.limits)
        if obstacle is not None:
            raise self._refuse(obstacle)

    def _wait_for_capacity(self) -> Obstacle | None:
        """Count the stream as soon as another one has been handed over; return what prevented that to the end."""
        deadline = time.monotonic() + WAIT_FOR_CAPACITY
        obstacle: Obstacle | None = Obstacle.CAPACITY
        while obstacle is Obstacle.CAPACITY and time.monotonic() < deadline:
            forks.sleep(0.01)
            obstacle = self._streams.add_stream(self.limits)
        return obstacle

    def _refuse(self, obstacle: Obstacle) -> NoRoom:
        if obstacle is Obstacle.DRAIN:
            return NoRoom(str(self._streams.drain_reason), is_stopping=True)
        if obstacle is Obstacle.WORKER:
            return NoRoom("this worker holds %d streams, the maximum (SSEMUX_MAX_STREAMS)" % self.limits.in_worker)
        assert self._capacity is not None
        return NoRoom("this worker serves %d streams, the maximum of %s with %s" % (
            self.limits.in_capacity, self._capacity.server, self._capacity.setting
        ))  # fmt: skip

    def _take_user_slot(self, user_id: str | None) -> str:
        """Take one of the user's slots; with an eviction, the slot of the user's oldest stream.

        :return: the name of the eviction request; "" if a slot was free.
        :raises NoRoom: the user has none left.
        """
        if self._user_limit.take_user_slot(user_id):
            return ""
        take, eviction = partial(self._user_limit.take_user_slot, user_id), self._eviction
        request = "" if eviction is None or user_id is None else eviction.evict_and_take(user_id, take)
        if not request:
            raise NoRoom(
                "this user holds %d streams, the maximum (SSEMUX_MAX_STREAMS_PER_USER)" % self._user_limit.limit
            )
        return request


def _limit_capacity(capacity: ServerCapacity | None, max_streams: int | None) -> int:
    """Return how many streams may use server capacity; log a warning if it is less than a user may expect.

    :param max_streams: ``SSEMUX_MAX_STREAMS``, which may ask for all of it but what one page needs.
    """
    if capacity is None:
        return sys.maxsize
    if capacity.requests == 1:
        return 0  # streams are refused, and the log says why
    if max_streams is None:
        if not capacity.is_plenty:
            log.warning("%s", capacity.advice)
        return capacity.max_streams
    if max_streams >= capacity.requests and not capacity.is_plenty:
        log.warning("SSEMUX_MAX_STREAMS=%d is out of reach: %s", max_streams, capacity.advice)
    elif not capacity.notices_departures:
        log.warning("%s", capacity.advice)
    return capacity.requests if capacity.requests == UNKNOWN else min(max_streams, capacity.requests - 1)
