"""One event to all streams of its channel: in slices, so that others live, and in turns.

An event for few streams goes out at once. One for many goes out slice by slice, in a thread (or greenlet) that
lives while there are such now and then: what was published to another channel meanwhile does not wait for its end. Each
stream gets its events in order all the same: before one is handed over, those before it that are still on their
way are. Which streams a channel has is the mux's to say, and nothing is written to a socket here.
"""

from __future__ import annotations

import threading
from typing import Callable, Iterator, Sequence

from ..util.supervise import Loop, attempt, survive
from .limits import StreamLimits
from .stream import Stream

#: Deliveries between two moments in which others may run: 3 to 8 ms of work.
SLICE = 400

#: Seconds that the thread waits for the next event.
LINGER = 10.0

#: Events for many streams that may be on their way; whoever brings one more waits.
ON_THEIR_WAY = 32


class FanOut:
    """Hands events to streams.

    :param limits: of the streams' queues.
    :param breathe: lets others run, the transports of woken streams first.
    """

    def __init__(self, limits: StreamLimits, breathe: Callable[[], None]) -> None:
        self._breathe = breathe
        self._most = min(SLICE, limits.events // 2)
        self._most_bytes = limits.size // 2
        self._deliveries = self._bytes = 0
        #: Held for a slice, so that a stream has one writer at a time; notified when an event is out.
        self._turn = threading.Condition()
        #: By channel, oldest first; of each channel the first is being handed out.
        self._on_their_way: dict[str, list[_Large]] = {}
        self._loop = Loop("ssemux-fan-out", self._turn, self._is_needed, self._hand_next)

    def send(self, targets: Sequence[Stream], frame: bytes, channel: str, sequence: int) -> None:
        """An event to these streams, all of which read its channel. When they are many, this returns before it is out.

        Called by one thread only, in the order of the sequence.
        """
        if len(targets) <= SLICE:
            self._hand(targets, frame, sequence)
            return
        with self._turn:
            while self._is_full_with(frame):
                self._turn.wait()
            self._loop.start()
            self._on_their_way.setdefault(channel, []).append(_Large(targets, frame, channel, sequence))
            self._turn.notify_all()

    def tell(self, targets: Sequence[Stream], frame: bytes) -> None:
        """To these streams what has no place among the events."""
        for start in range(0, len(targets), SLICE):
            self._hand(targets[start : start + SLICE], frame, None)

    def finish(self) -> None:
        """Wait until all that was sent is out."""
        with self._turn:
            while self._on_their_way:
                self._turn.wait()

    def _hand_next(self) -> None:
        """Hand the next slice of each channel over."""
        for channel in list(self._on_their_way):
            large = self._on_their_way[channel][0]
            part = next(large.parts, None)
            if part is None:
                self._is_out(channel)
            else:
                self._hand(part, large.frame, large.sequence)

    def _is_needed(self) -> bool:
        if not self._on_their_way:
            self._turn.wait(LINGER)
        return bool(self._on_their_way)

    def _is_out(self, channel: str) -> None:
        with self._turn:
            self._on_their_way[channel].pop(0)
            if not self._on_their_way[channel]:
                del self._on_their_way[channel]
            self._turn.notify_all()

    def _is_full_with(self, frame: bytes) -> bool:
        """Whether a stream that is handed all of it at once, with this, might be one that reads too slowly."""
        waiting = [len(large.frame) for large in self._all()]
        too_many = len(waiting) >= min(ON_THEIR_WAY, self._most)
        return bool(waiting) and (too_many or sum(waiting) + len(frame) > self._most_bytes)

    def _hand(self, part: Sequence[Stream], frame: bytes, sequence: int | None) -> None:
        """Hand it to these streams; if that raises, they are ended, and their clients come back and read it."""
        if not attempt(
            "an event could not be handed over, and its streams are ended", self._offer, part, frame, sequence
        ):
            for stream in part:
                _end(stream)

    def _offer(self, part: Sequence[Stream], frame: bytes, sequence: int | None) -> None:
        earlier = self._before(sequence) if sequence is not None and self._on_their_way else []
        self._pace(len(part) * (1 + len(earlier)), len(frame) + sum(len(large.frame) for large in earlier))
        with self._turn:
            for stream in part:
                try:
                    for large in earlier:
                        if large.channel in stream.channels:
                            stream.offer(large.frame, large.sequence)  # refused, if it has had it
                    stream.offer(frame, sequence)
                except Exception as error:  # one stream's fault must not cost the others an event
                    survive("a stream could not take an event, and is ended", error)
                    _end(stream)

    def _before(self, sequence: int) -> list[_Large]:
        """What is on its way and comes before this place, oldest first."""
        with self._turn:
            return sorted((it for it in self._all() if it.sequence < sequence), key=lambda it: it.sequence)

    def _all(self) -> list[_Large]:
        return [large for queue in self._on_their_way.values() for large in queue]

    def _pace(self, deliveries: int, size: int) -> None:
        """Breathe before anyone's queue could fill only because its transport had no turn."""
        if self._deliveries + deliveries > self._most or self._bytes + size > self._most_bytes:
            self._deliveries = self._bytes = 0  # first: others count while they run
            self._breathe()
        self._deliveries += deliveries
        self._bytes += size


def _end(stream: Stream) -> None:
    attempt("a stream could not be ended", stream.abort, "it could not take an event")


class _Large:
    """An event for many streams, on its way."""

    def __init__(self, targets: Sequence[Stream], frame: bytes, channel: str, sequence: int) -> None:
        self.frame = frame
        self.channel = channel
        self.sequence = sequence
        self.parts: Iterator[Sequence[Stream]] = (
            targets[start : start + SLICE] for start in range(0, len(targets), SLICE)
        )
