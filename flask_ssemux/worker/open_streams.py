"""The registry of all streams of an application that are open in this process, or are being opened.

The hub feeds most of them and keeps them by channel. Wrapped streams (old generators) feed themselves and are kept
here. Both kinds are counted, drained and aborted here. Whether one more may be opened is decided in ``admission.py``.
"""

from __future__ import annotations

import threading
import weakref
from enum import Enum
from functools import partial
from typing import Callable, NamedTuple, Protocol

from ..hub.hub import Hub
from ..hub.limits import BEGIN_TIMEOUT
from ..transports.select import count_handed_over
from ..util import forks
from ..util.supervise import attempt
from .periodic import OneTimeTask
from .timer import Timer
from .timer_wheel import Member


class WrappedStream(Member, Protocol):
    """An old generator's stream, which the hub does not feed."""

    @property
    def sent_at(self) -> float:
        """When something last went out."""

    @property
    def is_event_stream(self) -> bool:
        """Whether heartbeats are sent and a drain ends it; False: a body of another type, which nothing can resume."""

    def end_cleanly(self, last: bytes) -> None:
        """Send this last frame, and end."""

    def abort(self) -> None:
        """End at once."""

    def await_heartbeat(self) -> None:
        """Wait until a heartbeat that is being written is written."""

    def disown(self) -> None:
        """In a forked child: the stream is the parent's."""


class Obstacle(Enum):
    """Why one more stream is not counted."""

    #: All streams end.
    DRAIN = "drain"
    #: The worker has as many as it may.
    WORKER = "worker"
    #: The streams use all the server capacity that they may.
    CAPACITY = "capacity"


class StreamNumbers(NamedTuple):
    """How many streams there may be.

    :param in_worker: in this process, of one application.
    :param in_capacity: using server capacity, of all applications of this process.
    """

    in_worker: int
    in_capacity: int


class OpenStreams:
    """All streams of one application in this process.

    :param hub: keeps the streams that it feeds.
    """

    def __init__(self, hub: Hub, timer: Timer) -> None:
        self._hub = hub
        self._timer = timer
        self._wrapped: set[WrappedStream] = set()
        #: Wrapped streams that have not begun yet. Some never do, for example if the request fails after its view.
        self._expected: weakref.WeakSet[WrappedStream] = weakref.WeakSet()
        #: How many streams of the hub are open or being opened.
        self._admitted = 0
        #: Why all streams end, once they do.
        self.drain_reason: str | None = None
        self._counting = threading.Lock()
        _all.add(self)

    def __len__(self) -> int:
        """Return how many are open or being opened."""
        return self._admitted + len(self._wrapped) + len(self._expected)

    def list_wrapped(self) -> list[WrappedStream]:
        """Return the wrapped streams that are open."""
        return list(self._wrapped)

    # -- streams that come and go ------------------------------------------

    def add_stream(self, limits: StreamNumbers) -> Obstacle | None:
        """Count a stream that is going to be opened, unless something prevents it, which is returned."""
        with self._counting:
            obstacle = self._find_obstacle(limits)
            if obstacle is None:
                self._admitted += 1
            return obstacle

    def remove_stream(self) -> None:
        """A stream that was counted has ended, or was not opened."""
        with self._counting:
            self._admitted -= 1

    def _find_obstacle(self, limits: StreamNumbers) -> Obstacle | None:
        """Return what prevents one more stream. Called while no other is counted."""
        if self.drain_reason is not None:
            return Obstacle.DRAIN
        own = len(self)
        if own >= limits.in_worker:
            return Obstacle.WORKER
        count = own if len(_all) == 1 else count_all_streams()
        if count >= limits.in_capacity and count - count_handed_over() >= limits.in_capacity:
            return Obstacle.CAPACITY  # those that were handed over use none
        return None

    def expect_wrapped(self, stream: WrappedStream, limits: StreamNumbers) -> Obstacle | None:
        """Count a wrapped stream that is going to begin, unless something prevents it, which is returned.

        It has ``BEGIN_TIMEOUT`` seconds to begin.
        """
        with self._counting:
            obstacle = self._find_obstacle(limits)
            if obstacle is not None:
                return obstacle
            self._expected.add(stream)
        task = OneTimeTask(partial(self._stop_expecting, weakref.ref(stream)))
        self._timer.add(task, self._timer.clock() + BEGIN_TIMEOUT)
        return None

    def _stop_expecting(self, reference: weakref.ref[WrappedStream]) -> None:
        stream = reference()
        if stream is not None:
            self._expected.discard(stream)

    def add_wrapped(self, stream: WrappedStream, due: float) -> None:
        """A wrapped stream begins.

        :param due: when the timer calls it first.
        """
        self._wrapped.add(stream)
        self._expected.discard(stream)
        self._timer.add(stream, due)
        if self.drain_reason is not None:  # the drain began while the stream was being opened
            stream.end_cleanly(self._hub.make_last_frame(self.drain_reason))

    def remove_wrapped(self, stream: WrappedStream) -> None:
        """A wrapped stream has ended. Further calls do nothing."""
        self._wrapped.discard(stream)
        self._expected.discard(stream)
        self._timer.remove(stream)

    # -- all of them -------------------------------------------------------

    def drain(self, reason: str, draw_retry: Callable[[], int]) -> None:
        """End every stream cleanly, also those that are just being opened.

        :param draw_retry: returns after how many milliseconds a client comes back.
        """
        self.drain_reason = reason
        self._hub.drain_streams(reason, draw_retry)
        for stream in self.list_wrapped():
            attempt("a wrapped stream could not be ended", stream.end_cleanly, self._hub.make_last_frame(reason))

    def abort_drained(self, reason: str) -> None:
        """End at once the streams that a drain has not ended. The server waits for bodies of other types itself."""
        self._abort(reason, [stream for stream in self.list_wrapped() if stream.is_event_stream])

    def abort(self, reason: str) -> None:
        """End at once the streams that are still open."""
        self._abort(reason, self.list_wrapped())

    def _abort(self, reason: str, wrapped: list[WrappedStream]) -> None:
        self._hub.abort_streams(reason)
        for stream in wrapped:
            attempt("a wrapped stream could not be ended", stream.abort)

    def disown(self) -> None:
        """In a forked child: the streams are the parent's. No lock is taken, since its holder may not exist here."""
        self._hub.disown()
        for stream in [*self._wrapped, *self._expected]:
            stream.disown()


def count_all_streams() -> int:
    """Return how many streams all applications of this process have."""
    return sum(map(len, list(_all)))


def _forget_inherited() -> None:
    _all.clear()


_all: weakref.WeakSet[OpenStreams] = weakref.WeakSet()
forks.call_in_child(_forget_inherited, forks.LOCKS)
