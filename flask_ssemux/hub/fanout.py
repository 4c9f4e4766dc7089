"""One event to all streams of its channel: in slices, so that others run in between.

An event for few streams is handed out at once. An event for many streams ("large") is handed out slice by slice, in a
thread (or greenlet) of its own, so that events of other channels do not wait for its end. Each stream still gets its
events in order: before it gets an event, it gets the large events with lower sequences that are still on their way.
Which streams a channel has is known in ``subscriptions.py``, and nothing is written to a socket here.
"""

from __future__ import annotations

import threading
from typing import Callable, Iterator, Sequence

from ..util.supervise import Loop, attempt, survive
from ..util.threads import try_acquire
from .limits import StreamLimits
from .stream import Stream

#: How many deliveries are made before others may run: 3 to 8 ms of work.
SLICE = 400

#: The maximum number of streams that get an event in the thread that published it: 0.3 ms of work.
FEW = 40

#: Seconds that the thread waits for the next large event before it ends.
LINGER = 10.0

#: The maximum number of large events on their way. The broker's thread waits before it adds another.
MAX_LARGE = 32


class FanOut:
    """Hands events to streams.

    :param limits: of the streams' queues.
    :param yield_control: lets others run, the transports of woken streams first.
    """

    def __init__(self, limits: StreamLimits, yield_control: Callable[[], None]) -> None:
        self._yield_control = yield_control
        #: The maximum number of deliveries, and of their bytes, between two moments in which others run.
        self._max_deliveries = min(SLICE, limits.events // 2)
        self._max_bytes = limits.size // 2
        self._deliveries = self._bytes = 0
        #: Held for a slice, so that a stream has one writer at a time. Notified when a large event is out.
        self._turn_lock = threading.Lock()
        self._turn = threading.Condition(self._turn_lock)
        #: By channel, oldest first. The first of each channel is being handed out.
        self._large: dict[str, list[_LargeEvent]] = {}
        self._loop = Loop("ssemux-fan-out", self._turn, self._is_needed, self._hand_out_next_slices)

    def send_event(
        self,
        targets: Sequence[Stream],
        frame: bytes,
        channel: str,
        sequence: int,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        """Send an event to these streams, all of which read its channel. If they are many, this returns before the end.

        Called by one thread only, in the order of the sequences.

        :param on_end: called when all of them have the event.
        """
        if len(targets) <= SLICE:
            self._hand_out(targets, frame, sequence)
            if on_end is not None:
                on_end()
            return
        with self._turn:
            while self._is_full_with(frame):
                self._turn.wait()
            self._loop.start()
            self._large.setdefault(channel, []).append(_LargeEvent(targets, frame, channel, sequence, on_end))
            self._turn.notify_all()

    def send_event_now(
        self, targets: Sequence[Stream], frame: bytes, sequence: int, on_end: Callable[[], None] | None = None
    ) -> None:
        """Send an event to few streams in the thread that published it. The caller holds ``try_begin``'s turn."""
        try:
            for stream in targets:
                _offer(stream, frame, sequence)
        except BaseException:  # what ends the publisher's greenlet: none of the streams may miss the event
            for stream in targets:
                _end_stream(stream)
            raise
        finally:
            if on_end is not None:
                on_end()

    def try_begin(self, count: int, size: int) -> bool:
        """Take the turn for so many deliveries of a frame of so many bytes, if no other event must be waited for.

        After True, the caller calls ``end_turn``. A publisher that has made many deliveries lets others run first: left
        to the broker's thread, its events would stay that thread's for as long as it goes on.
        """
        if count > FEW:
            return False
        self._yield_in_time(count, size)
        return not self._large and try_acquire(self._turn_lock)

    def end_turn(self) -> None:
        """Let others hand out events."""
        self._turn_lock.release()

    def send_frame(self, targets: Sequence[Stream], frame: bytes) -> None:
        """Send a frame that is no event to these streams."""
        for start in range(0, len(targets), SLICE):
            self._hand_out(targets[start : start + SLICE], frame, None)

    def finish(self) -> None:
        """Wait until all events are handed out."""
        with self._turn:
            while self._large:
                self._turn.wait()

    def _hand_out_next_slices(self) -> None:
        """Hand out the next slice of each channel's first large event."""
        for channel in list(self._large):
            large = self._large[channel][0]
            part = next(large.parts, None)
            if part is None:
                self._remove_first(channel)
                if large.on_end is not None:
                    large.on_end()
            else:
                self._hand_out(part, large.frame, large.sequence)

    def _is_needed(self) -> bool:
        if not self._large:
            self._turn.wait(LINGER)
        return bool(self._large)

    def _remove_first(self, channel: str) -> None:
        with self._turn:
            self._large[channel].pop(0)
            if not self._large[channel]:
                del self._large[channel]
            self._turn.notify_all()

    def _is_full_with(self, frame: bytes) -> bool:
        """Return whether all large events and this frame together could fill the queue of a stream that reads well."""
        waiting = [len(large.frame) for large in self._list_large()]
        too_many = len(waiting) >= min(MAX_LARGE, self._max_deliveries)
        return bool(waiting) and (too_many or sum(waiting) + len(frame) > self._max_bytes)

    def _hand_out(self, part: Sequence[Stream], frame: bytes, sequence: int | None) -> None:
        """Hand a frame to these streams. If that raises, they are ended; their clients come back and replay it."""
        if not attempt(
            "an event could not be handed out, so its streams end", self._offer_frame, part, frame, sequence
        ):
            for stream in part:
                _end_stream(stream)

    def _offer_frame(self, part: Sequence[Stream], frame: bytes, sequence: int | None) -> None:
        earlier = self._list_large_before(sequence) if sequence is not None and self._large else []
        self._yield_in_time(len(part) * (1 + len(earlier)), len(frame) + sum(len(large.frame) for large in earlier))
        with self._turn:
            for stream in part:
                for large in earlier:
                    if large.channel in stream.channels:
                        _offer(stream, large.frame, large.sequence)  # the stream refuses it if it has it already
                _offer(stream, frame, sequence)

    def _list_large_before(self, sequence: int) -> list[_LargeEvent]:
        """Return the large events with lower sequences that are on their way, oldest first."""
        with self._turn:
            return sorted((it for it in self._list_large() if it.sequence < sequence), key=lambda it: it.sequence)

    def _list_large(self) -> list[_LargeEvent]:
        return [large for queue in self._large.values() for large in queue]

    def _yield_in_time(self, deliveries: int, size: int) -> None:
        """Let others run before the queue of a stream could fill only because its transport had no chance to run."""
        is_enough = self._deliveries + deliveries > self._max_deliveries or self._bytes + size > self._max_bytes
        if is_enough:
            self._deliveries = self._bytes = 0  # first, since others count while they run
            self._yield_control()
        self._deliveries += deliveries
        self._bytes += size


def _offer(stream: Stream, frame: bytes, sequence: int | None) -> None:
    """Offer a frame to a stream. An error of the stream ends it, and costs no other stream an event."""
    try:
        stream.offer(frame, sequence)
    except Exception as error:
        survive("a stream could not accept an event, and ends", error)
        _end_stream(stream)


def _end_stream(stream: Stream) -> None:
    attempt("a stream could not be ended", stream.abort, "it could not accept an event")


class _LargeEvent:
    """An event for many streams, on its way to them."""

    def __init__(
        self,
        targets: Sequence[Stream],
        frame: bytes,
        channel: str,
        sequence: int,
        on_end: Callable[[], None] | None,
    ) -> None:
        self.frame = frame
        self.channel = channel
        self.sequence = sequence
        self.on_end = on_end
        self.parts: Iterator[Sequence[Stream]] = (
            targets[start : start + SLICE] for start in range(0, len(targets), SLICE)
        )
