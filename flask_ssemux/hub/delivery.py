"""What the broker delivers, given to the streams that read it: events, gaps, new epochs, outages.

The broker calls from one thread (or greenlet), in the order of the sequences. How an event gets to many streams is
``fanout.py``'s part. No stream is opened here.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Sequence

from ..brokers import EventHistory, Listener, Record, hold_lock
from ..options import log
from ..publishing.revocation import REVOCATION_CHANNEL
from ..sse import encode
from ..sse.cursor import Cursor
from ..sse.trace_mark import BEGIN, END, MARK
from ..tracing.tracing import Tracing
from ..util.supervise import attempt
from .fanout import FanOut
from .opening import make_reset
from .outage import OutageNotice
from .replay import Replay
from .resume import ResetReason
from .revocation_handler import MESSAGE_CHANNELS, RevocationHandler
from .subscriptions import Subscriptions


class Delivery:
    """Takes events from the broker, from the first stream on.

    :param abort_streams: ends all streams at once: their clients come back, and replay what they missed.
    :param tracing: makes the spans of fan-outs.
    """

    def __init__(
        self,
        history: EventHistory,
        subscriptions: Subscriptions,
        fan_out: FanOut,
        replay: Replay,
        revocations: RevocationHandler,
        outage: OutageNotice,
        abort_streams: Callable[[str], None],
        tracing: Tracing,
    ) -> None:
        self._history = history
        self._subscriptions = subscriptions
        self._fan_out = fan_out
        self._replay = replay
        self._revocations = revocations
        self._outage = outage
        self._abort_streams = abort_streams
        self._tracing = tracing
        self._starting = threading.Lock()
        #: Set when the position after which events are delivered is known.
        self._has_position = threading.Event()
        #: Whether events and revocation messages are taken.
        self.has_started = False
        #: How many frames were given to streams.
        self.delivered = 0

    def start(self) -> None:
        """Begin to take events. Further calls do nothing.

        :raises BrokerUnavailable: the store did not answer.
        """
        with hold_lock(self._starting, "the broker is asked"):
            subscriptions = self._subscriptions
            if not subscriptions.epoch:
                newest = self._history.start_delivery(self._make_listener())
                subscriptions.begin_epoch(newest)
                self._replay.begin_epoch(newest.epoch)
                self._has_position.set()
            if not self.has_started:
                self._revocations.start(self._history, subscriptions.position)
                self.has_started = True

    def _make_listener(self) -> Listener:
        def survive(work: Callable[..., None]) -> Callable[..., None]:
            return lambda *args: self._survive(work, *args)

        return Listener(
            self._deliver,
            survive(self._announce_gaps),
            survive(self._begin_epoch),
            survive(self._outage.begin),
            survive(self._outage.end),
            self._deliver_now,
        )

    def _survive(self, work: Callable[..., None], *args: Any) -> None:
        """Do this work. If it raises, all streams end, so that their clients come back and read what they missed."""
        if not attempt("a message from the broker could not be handled, so all streams end", work, *args):
            self._abort_streams("a message from the broker could not be handled")

    # -- events ------------------------------------------------------------

    def _deliver(self, records: Sequence[Record]) -> None:
        """Give each record to its streams. An error costs only the streams of that record's channel an event."""
        self._has_position.wait()
        for record in records:
            if not attempt("an event could not be delivered, so its streams are reset", self._deliver_one, record):
                self._survive(self._announce_gap, record.channel)

    def _deliver_one(self, record: Record) -> None:
        subscribers = self._subscriptions.move_past(record)
        if record.channel in MESSAGE_CHANNELS:
            self._fan_out.finish()  # events that were published before the revocation
            self._revocations.handle_record(record)
        elif subscribers:
            self.delivered += len(subscribers)
            frame, on_end = self._make_frame(record), self._begin_span(record, len(subscribers))
            self._fan_out.send_event(subscribers, frame, record.channel, record.sequence, on_end)

    def _deliver_now(self, record: Record) -> bool:
        """Deliver an event that this process has just published, if no other event must be waited for.

        After an error the broker's thread delivers the event, to those streams that do not have it yet.
        """
        if record.channel.startswith(encode.OWN_PREFIX) or not self._has_position.is_set():
            return False
        try:
            return self._deliver_in_turn(record)
        except Exception:
            return False

    def _deliver_in_turn(self, record: Record) -> bool:
        count = len(self._subscriptions.list_subscribers(record.channel))
        if not self._fan_out.try_begin(count, len(record.body)):
            return False
        try:
            subscribers = self._subscriptions.move_past(record)
            if subscribers:
                frame, on_end = self._make_frame(record), self._begin_span(record, len(subscribers))
                self._fan_out.send_event_now(subscribers, frame, record.sequence, on_end)
                self.delivered += len(subscribers)
        finally:
            self._fan_out.end_turn()
        return True

    def _make_frame(self, record: Record) -> bytes:
        frame = encode.make_frame(record.body, "%s-%d" % (self._subscriptions.epoch, record.sequence))
        if record.latest_key is None:
            return frame
        return encode.LatestFrame.of(frame, (record.channel, record.latest_key))

    def _begin_span(self, record: Record, streams: int) -> Callable[[], None] | None:
        """Return what ends the span of a fan-out; None if the event has no trace, or if nobody traces here."""
        if record.body[BEGIN:END] != MARK:  # as ``has_traceparent`` does: this is asked for each event
            return None
        spans = self._tracing.find_spans()
        if spans is None:
            return None
        return spans.begin_fan_out(record, "%s-%d" % (self._subscriptions.epoch, record.sequence), streams)

    # -- events that are lost ----------------------------------------------

    def _announce_gaps(self, channels: Sequence[str], head: Cursor) -> None:
        self._has_position.wait()
        self._fan_out.finish()  # events that came before the gap
        for channel in channels:
            log.warning(
                "events of channel %r were trimmed before this worker received them, so its streams are reset; if this "
                "repeats, raise SSEMUX_HISTORY_EVENTS and SSEMUX_HISTORY_BYTES",
                channel,
            )
            self._announce_gap(channel)

    def _announce_gap(self, channel: str) -> None:
        """The streams of a channel missed something. If revocations were missed, all clients are checked again."""
        subscribers = self._subscriptions.forget_latest(channel)
        self._fan_out.send_frame(subscribers, make_reset([channel], ResetReason.HISTORY))
        if channel == REVOCATION_CHANNEL:
            self._revocations.end_all_streams()

    def _begin_epoch(self, newest: Cursor) -> None:
        """A new epoch of the history began."""
        self._has_position.wait()
        self._fan_out.finish()  # events with sequences of the epoch before
        self._replay.begin_epoch(newest.epoch)  # before a stream asks for a replay of the new epoch
        self._subscriptions.begin_epoch(newest)
        self._revocations.forget_stops()
        for stream in self._subscriptions.list_streams():
            if stream.has_replay_left():
                stream.abort("the history began anew during its replay")
            else:
                stream.last_sequence = newest.sequence
                stream.offer(make_reset(stream.channels, ResetReason.EPOCH, newest))
        self._revocations.handle_new_epoch(self._history, newest.sequence)
