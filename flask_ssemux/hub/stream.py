"""One client's open connection: from the hub's frames to its transport's bytes, from its opening to its end.

A stream does no I/O and reads no clock: time is an argument. It knows neither Flask nor gevent: a transport that waits
registers the function that wakes it. There are two kinds of transport. One takes the bytes that wait, and is woken when
there are more. The other is a ``Writer``, which gets each frame at once, so that only what its client did not take
waits. The queue, the limits, the states and the heartbeats' times have files of their own.

One writer and one reader may use a stream that is not ending from two threads without a lock. Ending it takes a lock.
"""

from __future__ import annotations

import sys
from typing import Callable, Iterator, Protocol

from . import heartbeat
from .limits import BEGIN_TIMEOUT, CHECK_AGAIN, WRITE_TIMEOUT, StreamLimits
from .stream_queue import StreamQueue
from .stream_state import CLOSED, CLOSING, LIVE, OPENING, REPLAYING, StreamState, check_move


class Writer(Protocol):
    """A transport that writes the frames of many streams as they come.

    It finds a stream's connection by ``stream.file``, keeps in the stream's queue what the client did not take, sets
    ``stream.sent_at`` when it has sent something, and calls ``stream.mark_closed`` in the end.
    """

    def write(self, stream: Stream, frame: bytes) -> None:
        """Send a frame, after the frames that wait."""

    def end_stream(self, stream: Stream, last: bytes) -> None:
        """Send the frames that wait, then these bytes, then the end of the response."""

    def cut_stream(self, stream: Stream) -> None:
        """Cut the connection at once. The frames that wait are not sent."""


class Connection(Protocol):
    """The client's connection of a transport that takes bytes."""

    def cut_connection(self) -> None:
        """Cut the connection, so that a write that hangs in it ends."""

    def wait_for_room(self) -> None:
        """Return when the client takes more bytes, or when the connection is cut."""

    def disown(self) -> None:
        """In a forked child: let go of the connection without the client's notice."""


class Stream(StreamQueue):
    """A client's frames on their way to its socket.

    :param channels: what the client reads, in the order in which the channels were named.
    :param user_id: the client's user, or None.
    :param limits: shared by all streams.
    :param now: in seconds of a clock that never goes back.
    """

    __slots__ = (
        "channels", "user_id", "state", "last_sequence", "timer_slot", "reason", "ends_at", "last_frame", "connection",
        "on_closed", "notify_opener", "sent_at", "file", "_writer", "_limits", "_is_ending", "_is_dropped", "opening",
        "_busy_since", "_wake", "__weakref__",
    )  # fmt: skip

    def __init__(self, channels: tuple[str, ...], user_id: str | None, limits: StreamLimits, now: float) -> None:
        self.queue = None  # what the base's constructor does: one call less for each stream
        self._bytes_in = self._bytes_out = 0
        self.channels = channels
        self.user_id = user_id
        self.state: StreamState = OPENING
        #: Live events up to this sequence are refused: the client has them, or its replay contains them. Before the
        #: stream has joined its channels, all events are refused.
        self.last_sequence = sys.maxsize
        #: Set by the timer: where the timer keeps this stream.
        self.timer_slot: int | None = None
        #: Why the stream ended, for logs.
        self.reason: str | None = None
        #: When the stream's lifetime ends, and the frame that it sends then.
        self.ends_at: float | None = None
        self.last_frame = b""
        #: Set by a transport that takes bytes.
        self.connection: Connection | None = None
        #: Set by the hub. Called once, with the stream.
        self.on_closed: Callable[[Stream], None] = _do_nothing
        #: Set by the hub, which calls it after that, for the caller that opened the stream.
        self.notify_opener: Callable[[Stream], None] = _do_nothing
        #: When something was last sent.
        self.sent_at = now
        #: The file descriptor of the connection, if the stream has a writer.
        self.file = -1
        self._writer: Writer | None = None
        self._limits = limits
        #: Whether no frame is accepted any more; and whether the queue was dropped, so that nothing is sent either.
        self._is_ending = False
        self._is_dropped = False
        #: Set by the hub: the pages that are sent before anything live, and were not drawn yet. They are drawn one at a
        #: time, when the client takes them. None after the last one.
        self.opening: Iterator[bytes] | None = None
        self._busy_since: float | None = None
        self._wake: Callable[[], None] | None = None

    # -- for the hub -------------------------------------------------------

    def offer(self, frame: bytes, sequence: int | None = None) -> None:
        """Accept a frame. If too much waits then, the stream is aborted.

        :param sequence: of the event; None for frames that have none.
        """
        if self._is_ending:
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
        """End cleanly: what waits is still sent, then ``last``, then the end of the response."""
        with self._lock:
            if self._is_ending:
                return
            if self._writer is not None:
                self._begin_end(reason)
                self._writer.end_stream(self, last)
                return
            if last:
                self.enqueue_unlimited(last)
            self._begin_end(reason)

    def abort(self, reason: str) -> None:
        """End at once. What waits is dropped; the client comes back and replays it."""
        with self._lock:
            if self.state is CLOSED:
                return
            self._drop_queue()
            self._begin_end(reason)
            if self._writer is not None:
                self._writer.cut_stream(self)
        connection = self.connection
        if connection is not None:
            connection.cut_connection()

    def wait_for_room(self) -> None:
        """Return when the client takes more bytes, as far as its transport can tell."""
        connection = self.connection
        if connection is not None:
            connection.wait_for_room()

    def has_replay_left(self) -> bool:
        """Return whether opening frames or missed events have yet to be sent."""
        return self.opening is not None

    # -- for a transport ---------------------------------------------------

    @property
    def is_parked(self) -> bool:
        """Whether the transport has sent everything and waits."""
        return self._wake is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be sent."""
        return self._is_ending and (self._is_dropped or (not self.queue and self.opening is None))

    def take_bytes(self, now: float) -> bytes:
        """Return what goes out in the next write; b"" if nothing waits."""
        if self._is_dropped:
            return b""
        opening = self.opening
        taken = self._take_page(opening) if opening is not None else b""
        if not taken:
            queue = self.queue
            if not queue:
                return b""
            taken = self._take_joined(queue)
            if not taken:  # the queue was dropped meanwhile
                return b""
            self._bytes_out += len(taken)
        self.sent_at = now
        return taken

    def park_transport(self, wake: Callable[[], None]) -> bool:
        """Register the function that wakes the transport. Return False if the transport must not wait now."""
        self._wake = wake
        if self.queue or self._is_ending or self.opening is not None:
            self._wake = None
            return False
        return True

    def hand_over(self, writer: Writer, file: int) -> bool:
        """Give the stream and its connection to a writer. Return False if something must be taken first."""
        if self.queue or self._is_ending or self.opening is not None:
            return False
        self.queue, self._wake, self.connection = None, None, None
        self._writer, self.file = writer, file
        return True

    def enqueue(self, data: bytes) -> None:
        """Add a frame to the queue. If the queue is over its limits then, the stream is aborted."""
        if self.enqueue_unlimited(data) > self._limits.events or self._bytes_in - self._bytes_out > self._limits.size:
            self.abort("its client reads too slowly: %d frames, %d bytes waited" % self.queue_size)

    def mark_closed(self, reason: str) -> None:
        """The connection no longer exists. The transport's last call. Further calls do nothing."""
        with self._lock:
            if self.state is CLOSED:
                return
            self._drop_queue()
            self._begin_end(reason)
            self._set_state(CLOSED)
            self.connection = None
        self.on_closed(self)

    def disown(self) -> None:
        """In a forked child: the stream is the parent's. Nothing of it is sent, woken or counted here."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.disown()
        self._is_ending = self._is_dropped = True
        self.state = CLOSED
        self.queue = self.opening = self._wake = self._writer = None
        self.file = -1
        self.on_closed = self.notify_opener = _do_nothing

    # -- for the timer -----------------------------------------------------

    def run_due_work(self, now: float) -> float | None:
        """Send a heartbeat, end the stream or abort a write that hangs, if that is due.

        :return: when to call this again; None for never.
        """
        if self.state is CLOSED:
            return None
        if self._is_dropped or self.state is OPENING:
            return self._check_transport(now)
        if self.ends_at is not None and now >= self.ends_at:
            self.close("its lifetime is over", self.last_frame)
            self.ends_at = None
        if self.queue if self._writer is not None else self._wake is None:
            return self._check_write(now)
        self._busy_since = None
        interval = self._limits.heartbeat
        if heartbeat.is_due(now, self.sent_at, interval):
            self._send_heartbeat(now)
            due = heartbeat.find_next_time(id(self), now, interval)
        else:
            due = heartbeat.choose_check_time(self.sent_at, interval)
        return self._limit_to_lifetime(due, now)

    def _send_heartbeat(self, now: float) -> None:
        self.offer(self._limits.heartbeat_frame)
        if self._writer is not None and not self.queue:
            # The writer sets it to the time at which it first saw the frame. The heartbeat frame is reused, so that
            # time is too old.
            self.sent_at = now

    def _check_write(self, now: float) -> float | None:
        """The transport does not wait, so it writes. Abort the stream if this write is the same for too long."""
        if self._busy_since is None or self.sent_at > self._busy_since:
            self._busy_since = now
        elif now >= self._busy_since + WRITE_TIMEOUT:
            self.abort("its client has taken nothing for %g s" % WRITE_TIMEOUT)
            return now + CHECK_AGAIN
        return self._limit_to_lifetime(now + min(self._limits.heartbeat, WRITE_TIMEOUT) / 4, now)

    def _check_transport(self, now: float) -> float | None:
        """The stream has not begun, or was cut off. Abandon it if no transport begins or closes it in time."""
        if self.state is OPENING and now < self.sent_at + BEGIN_TIMEOUT:
            return self.sent_at + BEGIN_TIMEOUT
        if self._busy_since is None:
            self._busy_since = now
            return now + CHECK_AGAIN
        reason = "its response never began" if self.state is OPENING else "its server did not close it"
        self._limits.abandon(self, reason)
        return None

    def _limit_to_lifetime(self, due: float, now: float) -> float:
        """Return the earlier of a time and the end of the stream's lifetime."""
        return due if self.ends_at is None else min(due, max(self.ends_at, now))

    # ----------------------------------------------------------------------

    def _take_page(self, opening: Iterator[bytes]) -> bytes:
        """Return the next page before anything live; b"" after the last one."""
        self._advance(OPENING, REPLAYING)
        for page in opening:
            if page:
                return page
        self.opening = None
        self._advance(REPLAYING, LIVE)
        return b""

    def _advance(self, state: StreamState, following: StreamState) -> None:
        """Move on, unless the stream's end came first."""
        with self._lock:
            if self.state is state:
                self._set_state(following)

    def _begin_end(self, reason: str) -> None:
        """Accept no more frames, and wake the transport."""
        if not self._is_ending:
            self._is_ending = True
            self.reason = reason
            self._set_state(CLOSING)
        wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _drop_queue(self) -> None:
        # A frame that is offered at this moment may still be queued, but it is not sent: its cursor would hide the
        # frames that are dropped here.
        if not self._is_dropped:
            self._is_dropped, self._busy_since = True, None
        self._clear_queue()
        self.opening = None

    def _set_state(self, state: StreamState) -> None:
        self.state = check_move(self.state, state)


def _do_nothing(*_: object) -> None:
    """The default of the callbacks."""
