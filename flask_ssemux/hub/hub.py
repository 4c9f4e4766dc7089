"""The hub of one process: opens streams, joins them to their channels, and ends them.

It holds the parts that do the rest: ``subscriptions.py`` (who reads what), ``delivery.py`` (what the broker delivers),
``fanout.py`` (one event to many streams), ``replay.py`` and ``opening.py`` (what comes before live events),
``revocation_handler.py`` and ``outage.py``. Who may read what is decided before, and no byte is written to a socket.
No Flask.
"""

from __future__ import annotations

import random
import time
from typing import Callable, Iterator, Sequence

from ..brokers import Broker
from ..options import Options, log
from ..sse import encode
from ..tracing.tracing import NO_TRACING, Tracing
from ..util.background import run_in_background
from ..util.log_throttle import LogThrottle
from ..util.supervise import attempt
from .comment_stream import CommentStream, convert_pages
from .delivery import Delivery
from .fanout import SLICE, FanOut
from .latest import LatestEvents
from .limits import BEGIN_TIMEOUT, StreamLimits
from .opening import Joined, Snapshots, make_heartbeat, open_pages
from .outage import DEGRADED, OutageNotice
from .replay import Replay
from .resume import NEW_CLIENT, ResetReason, ResumePoint, check_resume_point, parse_last_ids
from .revocation_handler import RevocationHandler
from .run_stream import RunReading, RunStream
from .run_stream import convert_pages as convert_run_pages
from .stream import Stream
from .subscriptions import Subscriptions
from .timing import Timer


class Hub:
    """All streams of one process.

    :param broker: where events come from.
    :param timer: sends the streams' heartbeats.
    :param options: of the application.
    :param yield_control: lets others run, the transports of woken streams first.
    :param tracing: makes the spans of fan-outs.
    """

    def __init__(
        self,
        broker: Broker,
        timer: Timer,
        options: Options,
        yield_control: Callable[[], None],
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self.broker = broker
        self.replay = Replay(broker.history, yield_control, options.replay_bytes)
        self._timer = timer
        self._options = options
        self._yield_control = yield_control
        #: Why all streams end, once they do.
        self.drain_reason: str | None = None
        #: Returns after how many milliseconds the client of a stream that ends comes back.
        self._draw_retry: Callable[[], int] = lambda: spread_retry(options.retry)
        self._on_closed = self._forget_stream  # one object for all streams: one for each would take memory
        self._limits = StreamLimits(
            options.queue_events, options.queue_bytes, options.heartbeat, make_heartbeat(options), self._abandon_stream
        )
        self._throttle = LogThrottle()
        self._fan_out = FanOut(self._limits, yield_control)
        self._subscriptions = Subscriptions(
            broker.history, LatestEvents(options.history_events, options.history_seconds), broker.is_shared
        )
        self.revocations = RevocationHandler(self._subscriptions.list_subscribers, self.make_last_frame, yield_control)
        self._outage = OutageNotice(timer, options.heartbeat, lambda frame: self.send_frame(self.list_streams(), frame))
        self._delivery = Delivery(
            broker.history,
            self._subscriptions,
            self._fan_out,
            self.replay,
            self.revocations,
            self._outage,
            self.abort_streams,
            tracing,
        )

    def __len__(self) -> int:
        """Return the number of open streams."""
        return len(self._subscriptions)

    @property
    def epoch(self) -> str:
        """The epoch of the history; "" before the first stream."""
        return self._subscriptions.epoch

    @property
    def delivered(self) -> int:
        """How many frames of events were given to streams."""
        return self._delivery.delivered

    @property
    def opening_frame_count(self) -> int:
        """The number of frames with which every stream begins: hello, and degraded during an outage."""
        return 2 if self._outage.is_announced else 1

    def list_streams(self) -> list[Stream]:
        """Return the open streams."""
        return self._subscriptions.list_streams()

    def list_subscribers(self, channel: str) -> Sequence[Stream]:
        """Return the open streams that read a channel."""
        return self._subscriptions.list_subscribers(channel)

    def list_channels(self) -> list[str]:
        """Return the channels that have streams."""
        return self._subscriptions.list_channels()

    # -- before a stream is opened -----------------------------------------

    def count_revocations(self) -> int:
        """Return how many revocation messages came so far. Call this before the client's rules, see ``open_stream``.

        :raises BrokerUnavailable: revocation messages do not arrive yet.
        """
        if not self._delivery.has_started:
            self._delivery.start()
        return self.revocations.received

    def parse_last_ids(self, last_ids: Sequence[str]) -> ResumePoint:
        """Return where a client resumes from. Call this after ``count_revocations``: before that, the epoch is unknown.

        :param last_ids: every ``Last-Event-ID`` that the client sent, in its header and its query.
        """
        return parse_last_ids(last_ids, self.epoch)

    def must_stay_away(self, user_id: str | None, channels: Sequence[str], resume: ResumePoint) -> bool:
        """Return whether this client must stay away: its stream was stopped, or would have been if it had been open."""
        revocations = self.revocations
        sequence = None if resume.cursor is None else resume.get_sequence(self.epoch)
        if sequence is not None:
            return revocations.is_stopped(user_id, channels, sequence)
        stay_away = revocations.stay_away
        return bool(stay_away.until) and stay_away.is_held(user_id, channels, time.monotonic())

    # -- streams -----------------------------------------------------------

    def open_stream(
        self,
        channels: Sequence[str],
        user_id: str | None,
        resume: ResumePoint = NEW_CLIENT,
        snapshots: Snapshots | None = None,
        on_closed: Callable[[Stream], None] = lambda _: None,
        new_channels: Sequence[str] = (),
        revocations_seen: int | None = None,
        channel_form: str = "field",
        run: RunReading | None = None,
    ) -> Stream:
        """Open a stream of these channels. Its client gets each event after the resume point once.

        :param snapshots: makes the first events of channels that are new to the client.
        :param on_closed: called with the stream when it has ended; not if this raises.
        :param new_channels: channels that a client with a cursor has not read before. They begin now.
        :param revocations_seen: what ``count_revocations`` returned before the client's rules were asked. Revocation
            messages that came since then are applied to this stream.
        :param channel_form: how its frames name their channels, one of ``encode.CHANNEL_FORMS``.
        :param run: how the client reads the run whose channel this is; None for all other channels.
        :raises BrokerUnavailable: (``BrokerBehind``: for a moment) it is not known where the client's replay begins.
        """
        if not self._delivery.has_started:
            self._delivery.start()
        subscriptions, now = self._subscriptions, self._timer.clock()
        has_comments = channel_form == "comment" and run is None
        kind = run.stream_class if run is not None else CommentStream if has_comments else Stream
        stream = kind(tuple(channels), user_id, self._limits, now)
        try:
            if resume.cursor is not None:
                resume = check_resume_point(resume, self.broker.history, subscriptions.epoch, subscriptions.position)
            has_new = resume.cursor is None or bool(new_channels)
            head, latest = subscriptions.add_stream(stream, resume.cursor, has_new)
            if resume.cursor is not None and resume.cursor.epoch != head.epoch:
                resume = ResumePoint(reset=ResetReason.EPOCH)  # a new epoch began between the lines above
            joined = Joined(stream, head, resume, new_channels, latest)
            pages = open_pages(self.replay, self._options, joined, snapshots)
            stream.opening = _convert_pages(stream, pages, run)
            stream.on_closed, stream.notify_opener = self._on_closed, on_closed
            self._start_stream(stream, revocations_seen)
        except BaseException:
            self._remove_stream(stream)
            raise
        return stream

    def _start_stream(self, stream: Stream, revocations_seen: int | None) -> None:
        """Put a stream that has joined its channels on the timer, and apply what came while it was being opened."""
        options, now = self._options, self._timer.clock()
        stream.sent_at = now
        # Spread, so that streams that were opened at the same time send their heartbeats at different times.
        first = min(BEGIN_TIMEOUT, options.heartbeat * random.uniform(0.5, 1.0))
        if options.lifetime is not None:
            lifetime = options.lifetime * random.uniform(0.8, 1.0)
            stream.ends_at, stream.last_frame = now + lifetime, self.make_last_frame("its lifetime is over")
            first = min(first, lifetime)
        if self._outage.is_announced:
            stream.offer(DEGRADED)
        self._timer.add(stream, now + first)
        if self.drain_reason is not None:  # the drain began while the stream was being opened
            self.end_stream(stream, self.drain_reason)
        if revocations_seen not in (None, self.revocations.received):
            self.revocations.apply_missed(stream, revocations_seen)

    def send_frame(self, streams: Sequence[Stream], frame: bytes) -> None:
        """Send a frame that is no event, and has no cursor, to these streams."""
        self._fan_out.send_frame(streams, frame)

    def end_stream(self, stream: Stream, reason: str) -> None:
        """End one stream cleanly. Its client comes back within ±50 % of ``SSEMUX_RETRY``, or when the drain says."""
        stream.close(reason, self.make_last_frame(reason))

    def drain_streams(self, reason: str, draw_retry: Callable[[], int]) -> None:
        """End every stream cleanly, and those that are just being opened as soon as they are open.

        :param draw_retry: returns after how many milliseconds a client comes back.
        """
        self.drain_reason, self._draw_retry = reason, draw_retry
        for number, stream in enumerate(self.list_streams(), 1):
            attempt("a stream could not be ended", self.end_stream, stream, reason)
            if number % SLICE == 0:
                self._yield_control()

    def abort_streams(self, reason: str) -> None:
        """End every stream at once. What waits for their clients is dropped."""
        for stream in self.list_streams():
            attempt("a stream could not be ended", stream.abort, reason)

    def make_last_frame(self, reason: str) -> bytes:
        """Return the last lines of a stream: when its client comes back, and why the stream ends."""
        return encode.make_retry(self._draw_retry(), reason)

    def disown(self) -> None:
        """In a forked child: the streams are the parent's."""
        self._subscriptions.disown()

    # ----------------------------------------------------------------------

    def _abandon_stream(self, stream: Stream, reason: str) -> None:
        """Close a stream that its server forgot. In the background: stores are asked then."""
        more = self._throttle.count(reason, self._timer.clock())
        if more is not None:
            log.warning("a stream was closed: %s%s", reason, more)
        run_in_background("ssemux-end", stream.mark_closed, reason)

    def _forget_stream(self, stream: Stream) -> None:
        self._remove_stream(stream)
        stream.notify_opener(stream)

    def _remove_stream(self, stream: Stream) -> None:
        self._timer.remove(stream)
        self._subscriptions.remove_stream(stream)


def _convert_pages(stream: Stream, pages: Iterator[bytes], run: RunReading | None) -> Iterator[bytes]:
    """Return what a stream of this kind sends before its first live event."""
    if run is not None and isinstance(stream, RunStream):
        return convert_run_pages(stream, pages, run)
    return convert_pages(pages) if isinstance(stream, CommentStream) else pages


def spread_retry(milliseconds: int) -> int:
    """Return a random time within ±50 %, so that clients do not all come back at once."""
    return max(1, int(milliseconds * random.uniform(0.5, 1.5)))
