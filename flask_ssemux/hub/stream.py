"""One client's open connection: its life, its bounded queue, its wake-up.

A stream takes frames from the mux and gives bytes to its transport. It does no
I/O and reads no clock: time is an argument. It knows neither Flask nor gevent;
how a waiting transport is woken is a function that the transport brings along.

A transport either takes what waits, and is woken when something comes; or it is a
``Writer``, which is handed each frame at once, and then only what its client did not take waits.

One writer and one reader may work on a living stream from two threads without a lock:
each counter has one writer, and what a list does to its ends is atomic. Ending it takes one.
"""

from __future__ import annotations

import random
import sys
import threading
from typing import Callable, Iterator, NamedTuple, Protocol

from ..errors import WrongState
from ..sse.encode import LatestFrame
from ..util import forks

OPENING, REPLAYING, LIVE, CLOSING, CLOSED = "opening", "replaying", "live", "closing", "closed"

#: A stream's life: from each state, the states it may move to.
MOVES = {
    OPENING: (REPLAYING, CLOSING),
    REPLAYING: (LIVE, CLOSING),
    LIVE: (CLOSING,),
    CLOSING: (CLOSED,),
    CLOSED: (),
}

#: Seconds that one write may take before its client counts as vanished.
WRITE_TIMEOUT = 30.0

#: Seconds in which a transport begins to take. A stream has none if what runs after its view failed: the session could
#: not be saved, or an ``after_request`` function raised.
BEGIN = 3.0

#: Seconds until a look that found no transport is repeated: a loop that was blocked gave the transport no turn.
REPEAT = 1.0

#: Frames that wait are joined up to about so many bytes into one write.
JOIN_BYTES = 64 * 1024


#: Of a heartbeat: from this much silence on, a look ends it. Earlier than it must, so that streams which had an event
#: at one moment do not beat at one moment ever after. Under a half: each finds its own time with the second beat.
EARLY = 0.4

#: Of a heartbeat: from one beat to the next. Under 1 by two of the heart's ticks, so that a tick's width never
#: makes a beat late.
AGAIN = 0.975

# Fibonacci hashing: 2**64 divided by the golden ratio scatters what lies side by side (Knuth, TAOCP 3, 6.4).
_GOLDEN, _64_BITS = 0x9E3779B97F4A7C15, (1 << 64) - 1

# For all streams: ends are rare and short, and a lock for each would be a tenth of a stream's memory.
# A frame that a writer cannot write ends a stream within its end.
_ending = threading.RLock()


class Limits(NamedTuple):
    """What may wait for one client, and how long it may be silent.

    :param events: frames in the queue.
    :param size: their bytes.
    :param heartbeat: longest silence, in seconds.
    :param beat: the frame that ends a silence.
    :param abandon: calls ``mark_closed`` of a stream that has no transport to do it, beside the caller.
    """

    events: int
    size: int
    heartbeat: float
    beat: bytes
    abandon: Callable[[Stream, str], None] = lambda stream, reason: stream.mark_closed(reason)


class Writer(Protocol):
    """A transport that writes the frames of many streams as they come.

    It finds a stream's connection by ``file``, keeps in its queue what the client did not take,
    says in ``sent_at`` when something went out, and calls ``mark_closed`` in the end.
    """

    def write(self, stream: Stream, frame: bytes) -> None:
        """A frame for it, after all that waits."""

    def end_stream(self, stream: Stream, last: bytes) -> None:
        """Write what waits, then these bytes, then the end."""

    def cut_stream(self, stream: Stream) -> None:
        """End it now, without what waited."""


class Connection(Protocol):
    """The client's connection, where a transport waits on it."""

    def sever(self) -> None:
        """Cut it off, so that a write that hangs in it ends."""

    def wait_for_room(self) -> None:
        """Return when the client takes more, or it is cut off."""

    def disown(self) -> None:
        """In a forked child: let go of it, unnoticed by the client."""


class Stream:
    """A client's frames on their way to its socket.

    :param channels: what it reads, in the order they were named.
    :param user_id: whose it is, or None.
    :param limits: see ``Limits``.
    :param now: the time it was made, in seconds of a clock that never goes back.
    """

    __slots__ = (
        "channels", "user_id", "state", "last_sequence", "timer_slot", "reason", "ends_at", "last_frame",
        "connection", "on_closed", "notify_opener", "queue", "sent_at", "file", "_writer", "_limits",
        "_bytes_in", "_bytes_out", "_deaf", "_dropped", "_prologue", "_busy_since", "_wake", "__weakref__",
    )  # fmt: skip

    def __init__(self, channels: tuple[str, ...], user_id: str | None, limits: Limits, now: float) -> None:
        self.channels = channels
        self.user_id = user_id
        self.state = OPENING
        #: Live events up to this sequence are history to this stream, or it has had them: all, until it has joined.
        self.last_sequence = sys.maxsize
        #: Where the heart keeps it.
        self.timer_slot: int | None = None
        #: Why it ended, for logs.
        self.reason: str | None = None
        #: When it ends by itself, and what it says then.
        self.ends_at: float | None = None
        self.last_frame = b""
        #: Set by the transport that has one.
        self.connection: Connection | None = None
        #: Set by the mux, called once, with the stream; and what the mux calls then, for whoever opened it.
        self.on_closed: Callable[[Stream], None] = _nothing
        self.notify_opener: Callable[[Stream], None] = _nothing
        #: What waits; made when something first does. A list: a deque takes 0.6 KB, twice as much as all the rest.
        self.queue: list[bytes] | None = None
        #: When something last went out.
        self.sent_at = now
        #: The connection's file, where a writer has it.
        self.file = -1
        self._writer: Writer | None = None
        self._limits = limits
        self._bytes_in = 0
        self._bytes_out = 0
        self._deaf = False
        self._dropped = False
        self._prologue: Iterator[bytes] | None = None
        self._busy_since: float | None = None
        self._wake: Callable[[], None] | None = None

    # -- the mux's side ----------------------------------------------------

    def set_opening(self, prologue: Iterator[bytes]) -> None:
        """What goes out before anything live: pages of bytes, drawn one at a time as the client takes them."""
        self._prologue = prologue

    def offer(self, frame: bytes, sequence: int | None = None) -> None:
        """Take a frame; what then waits too much closes the stream.

        :param sequence: the event's place; None for frames that have none.
        """
        if self._deaf:
            return
        if sequence is not None:
            if sequence <= self.last_sequence:
                return
            self.last_sequence = sequence
        writer = self._writer
        if writer is not None:
            writer.write(self, frame)
            return
        self.enqueue(frame)
        wake = self._wake
        if wake is not None:
            self._wake = None
            wake()

    def close(self, reason: str, last: bytes = b"") -> None:
        """End cleanly: what waits is still sent, then ``last``, then the end."""
        with _ending:
            if self._deaf:
                return
            if self._writer is not None:
                self._stop(reason)
                self._writer.end_stream(self, last)
                return
            if last:
                self.enqueue_unlimited(last)
            self._stop(reason)

    def abort(self, reason: str) -> None:
        """End at once: what waits is dropped; the client comes back and replays it."""
        with _ending:
            if self.state is CLOSED:
                return
            self._drop()
            self._stop(reason)
            if self._writer is not None:
                self._writer.cut_stream(self)
        peer = self.connection
        if peer is not None:
            peer.sever()

    def wait_for_room(self) -> None:
        """Return when the client takes more, as far as its transport can tell."""
        peer = self.connection
        if peer is not None:
            peer.wait_for_room()

    @property
    def replay(self) -> Iterator[bytes] | None:
        """What goes out before anything live, as far as it was not drawn; None if that was all."""
        return self._prologue

    def has_replay_left(self) -> bool:
        """Whether there is history yet to be sent."""
        return self._prologue is not None

    def run_due_work(self, now: float) -> float | None:
        """The heart's look: end a silence, a life, or a write that hangs.

        :return: when to look next, or None if never.
        """
        if self.state is CLOSED:
            return None
        if self._dropped or self.state is OPENING:
            return self._watch_transport(now)
        if self.ends_at is not None and now >= self.ends_at:
            self.close("its lifetime is over", self.last_frame)
            self.ends_at = None
        if self.queue if self._writer is not None else self._wake is None:
            return self._watch_write(now)
        self._busy_since = None
        heartbeat = self._limits.heartbeat
        if now < self.sent_at + heartbeat * EARLY:
            due = self.sent_at + heartbeat * random.uniform(EARLY, 1.0)
        else:
            self.offer(self._limits.beat)
            if self._writer is not None and not self.queue:
                self.sent_at = now  # the writer goes by when the frame was new, which a beat never is
            due = self._next_beat(now, heartbeat)
        return self._in_time(due, now)

    @property
    def is_parked(self) -> bool:
        """Whether its transport has sent all there was, and waits."""
        return self._wake is not None

    @property
    def queue_size(self) -> tuple[int, int]:
        """Frames and bytes in the queue."""
        return len(self.queue or ()), self._bytes_in - self._bytes_out

    # -- the transport's side ----------------------------------------------

    def take_bytes(self, now: float) -> bytes:
        """Everything that can go out in one write; b"" if there is nothing."""
        if self._dropped:
            return b""
        prologue = self._prologue
        taken = self._page(prologue) if prologue is not None else b""
        if not taken:
            queue = self.queue
            if not queue:
                return b""
            taken = self._join(queue)
            if not taken:  # it was dropped at this moment
                return b""
            self._bytes_out += len(taken)
        self.sent_at = now
        return taken

    def park_transport(self, wake: Callable[[], None]) -> bool:
        """Say how to wake the transport, before it waits; False if there is something to do first."""
        self._wake = wake
        if self.queue or self._deaf or self._prologue is not None:
            self._wake = None
            return False
        return True

    def hand_over(self, writer: Writer, file: int) -> bool:
        """Let a writer have it, with its connection; False if there is something to take first."""
        if self.queue or self._deaf or self._prologue is not None:
            return False
        self.queue, self._wake, self.connection = None, None, None
        self._writer, self.file = writer, file
        return True

    def enqueue(self, data: bytes) -> None:
        """Put into the queue; one that is full closes the stream."""
        if self.enqueue_unlimited(data) > self._limits.events or self._bytes_in - self._bytes_out > self._limits.size:
            self.abort("its client reads too slowly: %d frames, %d bytes waited" % self.queue_size)

    def enqueue_unlimited(self, data: bytes) -> int:
        """Put into the queue, be it full or not; how many wait now."""
        queue = self.queue
        if queue is None:
            with _ending:  # an event and an end may both come first
                queue = self.queue = [] if self.queue is None else self.queue
        if type(data) is LatestFrame and queue:
            self._supersede(queue, data.key)
        queue.append(data)
        self._bytes_in += len(data)
        return len(queue)

    def _supersede(self, queue: list[bytes], key: tuple[str, str]) -> None:
        """Drop what the frame to come takes the place of; at the queue's end, for the cursors of what is before it."""
        with _ending:  # a reader takes several under it
            for frame in queue:
                if type(frame) is LatestFrame and frame.key == key:
                    try:
                        queue.remove(frame)  # by itself, not by its place: a reader may take the first at any time
                    except ValueError:  # at this moment
                        return
                    self._bytes_in -= len(frame)
                    return

    def remove_sent_bytes(self, size: int) -> None:
        """So many bytes of the queue went out."""
        self._bytes_out += size
        queue, whole = self.queue or [], 0
        for frame in queue:
            if size < len(frame):
                break
            size -= len(frame)
            whole += 1
        del queue[:whole]
        if size:
            queue[0] = queue[0][size:]

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._deaf and (self._dropped or (not self.queue and self._prologue is None))

    def mark_closed(self, reason: str) -> None:
        """The connection is no more. The transport calls this last, however it ended; more than once is fine."""
        with _ending:
            if self.state is CLOSED:
                return
            self._drop()
            self._stop(reason)
            self._move(CLOSED)
            self.connection = None
        self.on_closed(self)

    def disown(self) -> None:
        """In a forked child: the stream is the parent's. Nothing of it is sent, woken, or accounted for here."""
        peer, self.connection = self.connection, None
        if peer is not None:
            peer.disown()
        self._deaf = self._dropped = True
        self.state = CLOSED
        self.queue = self._prologue = self._wake = self._writer = None
        self.file = -1
        self.on_closed = self.notify_opener = _nothing

    # ----------------------------------------------------------------------

    def _next_beat(self, now: float, heartbeat: float) -> float:
        """The last moment of its own that is early enough. What all had at one moment, an event or a beginning,
        is behind them two beats later: they beat evenly over the interval."""
        interval = heartbeat * AGAIN
        own = (id(self) * _GOLDEN & _64_BITS) / _64_BITS * interval  # chance, which takes no memory
        return max(now + interval - (now - own) % interval, now + heartbeat * EARLY)

    def _watch_write(self, now: float) -> float | None:
        """The transport is not waiting, so it writes: is it still the same write as at the last look?"""
        if self._busy_since is None or self.sent_at > self._busy_since:
            self._busy_since = now
        elif now >= self._busy_since + WRITE_TIMEOUT:
            self.abort("its client has taken nothing for %g s" % WRITE_TIMEOUT)
            return now + REPEAT
        return self._in_time(now + min(self._limits.heartbeat, WRITE_TIMEOUT) / 4, now)

    def _watch_transport(self, now: float) -> float | None:
        """Nobody has begun to take, or it was cut off: is there a transport that will do so, or close it?"""
        if self.state is OPENING and now < self.sent_at + BEGIN:
            return self.sent_at + BEGIN
        if self._busy_since is None:
            self._busy_since = now
            return now + REPEAT
        self._limits.abandon(self, "nobody began to send it" if self.state is OPENING else "its server forgot it")
        return None

    def _in_time(self, due: float, now: float) -> float:
        """Return when to look next: when it is due, or when the stream's lifetime ends, if that is earlier."""
        return due if self.ends_at is None else min(due, max(self.ends_at, now))

    def _page(self, prologue: Iterator[bytes]) -> bytes:
        """The next page of the prologue, b"" at its end. A page is one read; its frames are not kept."""
        self._advance(OPENING, REPLAYING)
        for page in prologue:
            if page:
                return page
        self._prologue = None
        self._advance(REPLAYING, LIVE)
        return b""

    def _advance(self, state: str, following: str) -> None:
        """Move on, unless an end came first."""
        with _ending:
            if self.state is state:
                self._move(following)

    def _join(self, queue: list[bytes]) -> bytes:
        """The frames that wait, as one; what does not fit waits on."""
        if len(queue) == 1:
            try:
                return queue.pop(0)
            except IndexError:  # dropped
                return b""
        count = size = 0
        with _ending:  # nothing is dropped from between those that are counted
            for frame in queue:
                count += 1
                size += len(frame)
                if size >= JOIN_BYTES:
                    break
            frames = queue[:count]
            del queue[:count]
        return b"".join(frames)

    def _stop(self, reason: str) -> None:
        """Take nothing more, and let the transport see it."""
        if not self._deaf:
            self._deaf = True
            self.reason = reason
            self._move(CLOSING)
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _drop(self) -> None:
        # An event that is offered at this very moment may still be queued, and is not sent:
        # its cursor would hide those that are dropped.
        if not self._dropped:
            self._dropped, self._busy_since = True, None
        if self.queue is not None:
            self.queue.clear()
        self._bytes_out = self._bytes_in
        self._prologue = None

    def _move(self, state: str) -> None:
        if state not in MOVES[self.state]:
            raise WrongState("a stream that is %s cannot become %s" % (self.state, state))
        self.state = state


def _renew_lock() -> None:
    global _ending
    _ending = threading.RLock()


forks.call_in_child(_renew_lock, forks.LOCKS)


def _nothing(*_: object) -> None:
    """For a stream that nobody keeps account of."""
