"""Channels to streams: takes events off the broker and hands them to whom they are for.

Replay is joined to live without a gap or a double. How an event gets to many streams is ``fanout.py``'s;
who may read what is not asked here, and no byte is written to a socket. No Flask.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Callable, Sequence

from ..brokers import Broker, Listener, Record, SubscriptionStart, hold_lock
from ..errors import BrokerBehind, BrokerUnavailable
from ..options import Options, log
from ..publishing.revocation import CHANNEL, ROOM_CHANNEL
from ..sse import encode
from ..sse.cursor import Cursor
from ..util.background import run_in_background
from ..util.log_throttle import LogThrottle
from ..util.supervise import attempt
from .fanout import SLICE, FanOut
from .latest import Latest
from .limits import BEGIN_TIMEOUT, StreamLimits
from .opening import Joined, Opening, Snapshots, reset
from .replay import Replay
from .revocation_handler import RevocationHandler
from .stream import Stream
from .timing import Timer

#: What clients hear when the broker was lost for more than a heartbeat, and when it is back.
DEGRADED = encode.own_frame("degraded", {})
RESTORED = encode.own_frame("restored", {})


class Hub:
    """All streams of one process.

    :param broker: where events come from.
    :param heart: looks after the streams' silence.
    :param options: of the application.
    :param breathe: lets others run, the transports of woken streams first.
    """

    def __init__(self, broker: Broker, timer: Timer, options: Options, breathe: Callable[[], None]) -> None:
        self.broker = broker
        self.replay = Replay(broker, breathe, options.replay_bytes)
        self._timer = timer
        self._options = options
        self._breathe = breathe
        self._lock = threading.RLock()
        self._streams: set[Stream] = set()
        #: In the order in which they joined: so they lie in memory, ours and the kernel's, and what an event touches
        #: is what comes next.
        self._channels: dict[str, dict[Stream, None]] = {}
        self._targets: dict[str, list[Stream]] = {}
        #: The text of each channel, one object for all its streams.
        self._names: dict[str, str] = {}
        #: Those that the broker delivers, and whose latest events are known here.
        self._wanted: set[str] = set()
        self._latest = Latest(options.history_events, options.history_seconds)
        self._listening = threading.Lock()
        #: What is delivered waits until the place that it follows is known.
        self._placed = threading.Event()
        self._epoch = ""
        self._position = 0
        #: Events given to streams, one for each stream.
        self.delivered = 0
        self._outage = _Outage(self)
        self._draining: str | None = None
        self._on_closed = self._closed  # one object for all streams: a closure for each would be half of what it keeps
        beat = encode.heartbeat(options.heartbeat_event)
        self._limits = StreamLimits(options.queue_events, options.queue_bytes, options.heartbeat, beat, self._abandon)
        self._throttle = LogThrottle()
        self._fan_out = FanOut(self._limits, breathe)
        self.revocations = RevocationHandler(self._readers, self.make_last_frame, breathe)
        self._has_orders = False

    def __len__(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def epoch(self) -> str:
        """The life of the history; "" before the first stream."""
        return self._epoch

    @property
    def is_draining(self) -> bool:
        return self._draining is not None

    @property
    def opening_frame_count(self) -> int:
        """Frames with which every stream begins now: ``retry``, the hello, and while the broker is away, that it is."""
        return 3 if self._outage.told else 2

    def count_revocations(self) -> int:
        """How many orders came so far: asked before a client's rules are, and told when its stream is opened.

        :raises BrokerUnavailable: orders do not come yet.
        """
        self._listen()
        return self.revocations.taken

    def is_to_stay_away(self, user_id: str | None, channels: Sequence[str], last_ids: Sequence[str]) -> bool:
        """Whether this client was told so, while it was away."""
        seen = encode.newest(last_ids, self._epoch)
        if not isinstance(seen, Cursor) or seen.epoch != self._epoch:
            return False
        return self.revocations.is_stopped(user_id, channels, seen.sequence)

    def is_held_off(self, user_id: str | None, channels: Sequence[str], last_ids: Sequence[str]) -> bool:
        """Whether this client says no cursor, and its user or a channel was told to stay away just now."""
        seen = encode.newest(last_ids, self._epoch)
        if isinstance(seen, Cursor) and seen.epoch == self._epoch:
            return False  # the cursor says whether it was away when that was told
        return self.revocations.stay_away.is_held(user_id, channels, time.monotonic())

    def disown(self) -> None:
        """In a forked child: the streams are the parent's. No lock is waited for: who holds it may not be here."""
        for stream in self._streams:
            stream.disown()
        self._streams, self._channels, self._targets = set(), {}, {}

    # -- streams -----------------------------------------------------------

    def open_stream(
        self,
        channels: Sequence[str],
        user_id: str | None,
        last_ids: Sequence[str] = (),
        snapshots: Snapshots = lambda _: (),
        on_closed: Callable[[Stream], None] = lambda _: None,
        new: Sequence[str] = (),
        revocations_seen: int | None = None,
    ) -> Stream:
        """A stream of these channels, joined without gap or double to what its client has seen.

        :param last_ids: what the client says it saw last, in all the ways it said it.
        :param snapshots: first events of the channels that are new to the client.
        :param on_closed: called when the stream is no more; not if this raises.
        :param new: channels that are new to a client which has seen others: they begin now, whatever its cursor.
        :param revocations_seen: before its rules were asked: orders that came since are for it, too.
        :raises BrokerUnavailable: (``BrokerBehind``: for a moment) its place in the history cannot be found out.
        """
        self._listen()
        now = self._timer.clock()
        stream = Stream(tuple(self._names.get(name, name) for name in channels), user_id, self._limits, now)
        seen = encode.newest(last_ids, self._epoch)
        try:
            reason = self._why_void(seen)
            place = seen if isinstance(seen, Cursor) and not reason else None
            head, latest = self._join(stream, place, place is None or bool(new))
            if not reason and isinstance(seen, Cursor) and seen.epoch != head.epoch:
                reason = "epoch"  # it began anew between the two lines above
            joined = Joined(head, seen, reason, new, latest)
            stream.set_opening(Opening(self.replay, self._options, stream, joined, snapshots).begin())
            stream.on_closed, stream.notify_opener = self._on_closed, on_closed
            self._begin(stream, revocations_seen)
        except BaseException:
            self._remove(stream)
            raise
        return stream

    def _begin(self, stream: Stream, revocations_seen: int | None) -> None:
        """It has joined: what is due by the clock, and what came while it was being opened."""
        now = stream.sent_at = self._timer.clock()
        if self._options.lifetime is not None:
            stream.ends_at = now + self._options.lifetime * random.uniform(0.8, 1.0)
            stream.last_frame = self.make_last_frame("its lifetime is over")
        if self._outage.told:
            stream.offer(DEGRADED)
        first = min(BEGIN_TIMEOUT, self._options.heartbeat * random.uniform(0.5, 1.0))  # no two in one burst
        self._timer.add(stream, now + (first if stream.ends_at is None else min(first, stream.ends_at - now)))
        if self._draining is not None:  # begun while it was being opened
            self.end_stream(stream, self._draining)
        if revocations_seen is not None:
            self.revocations.check(stream, revocations_seen)

    def _abandon(self, stream: Stream, reason: str) -> None:
        """Give back what a stream has that its server forgot; beside the heart, since stores are asked."""
        more = self._throttle.count(reason, self._timer.clock())
        if more is not None:
            log.warning("a stream had an open place and no response any more (%s); the place is free%s", reason, more)
        run_in_background("ssemux-end", stream.mark_closed, reason)

    def list_streams(self) -> list[Stream]:
        """Those that are open now."""
        with self._lock:
            return list(self._streams)

    def list_channels(self) -> list[str]:
        """Those that are read now."""
        with self._lock:
            return list(self._channels)

    def send_frame(self, streams: Sequence[Stream], frame: bytes) -> None:
        """To these streams what has no place among the events."""
        self._fan_out.tell(streams, frame)

    def drain_streams(self, reason: str) -> None:
        """End every stream cleanly, their clients' return spread over time."""
        self._draining = reason
        for number, stream in enumerate(self.list_streams(), 1):
            attempt("a stream could not be ended", self.end_stream, stream, reason)
            if number % SLICE == 0:
                self._breathe()

    def abort_streams(self, reason: str) -> None:
        """End at once the streams that are left: their clients did not take their end."""
        for stream in self.list_streams():
            attempt("a stream could not be ended", stream.abort, reason)

    def end_stream(self, stream: Stream, reason: str) -> None:
        """End one stream cleanly; its client comes back within ±50 % of ``SSEMUX_RETRY``."""
        stream.close(reason, self.make_last_frame(reason))

    def make_last_frame(self, reason: str) -> bytes:
        """The last frame of a stream that is ended: come back, at a time of your own."""
        return encode.retry(spread_retry(self._options.retry), reason)

    def _join(self, stream: Stream, seen: Cursor | None, begins: bool) -> tuple[Cursor, list[Record]]:
        """Make the stream one of its channels'; the place after which it gets every event live, and the latest
        events as of then.

        :param begins: some of its channels begin now: not with what was published before, and is delivered here later.
        """
        with self._lock:
            for channel in stream.channels:
                self._channels.setdefault(self._names.setdefault(channel, channel), {})[stream] = None
                self._targets.pop(channel, None)
            # What a client saw elsewhere before it was delivered here is ahead of what is known here.
            is_ahead = seen is not None and seen.epoch == self._epoch and seen.sequence > self._position
            new = [channel for channel in stream.channels if is_ahead or channel not in self._wanted]
        epoch, (after, latest) = self._epoch, self._want(new, stream.channels if begins else ())
        with self._lock:  # one that its last reader left meanwhile is asked for anew by the next
            if epoch == self._epoch:
                self._wanted.update(channel for channel in new if channel in self._channels)
                for record in latest:
                    self._note(record)
        with self._lock:
            # It takes nothing before this line. A place is passed under this lock, so whatever
            # is delivered later than this one comes to this stream, and what is not can be read.
            # What is wanted from now on is delivered after `after`: to those who join later, too.
            if epoch != self._epoch:
                after = 0  # a place in the life that ended while it was asked for
            self._position = max(after, self._position)
            stream.last_sequence = self._position
            if seen is not None and seen.epoch == self._epoch:
                stream.last_sequence = max(stream.last_sequence, seen.sequence)
            self._streams.add(stream)
            return Cursor(self._epoch, stream.last_sequence), self._latest.of(stream.channels)

    def _want(self, new: Sequence[str], begin: Sequence[str]) -> SubscriptionStart:
        """Ask the broker for channels: those that must be asked for, and those that had better be."""
        try:
            asked = begin or new
            return self.broker.history.subscribe_channels(asked) if asked else SubscriptionStart(0, [])
        except BrokerUnavailable:
            if new:
                raise
            return SubscriptionStart(0, [])  # then what is known here is the newest that there is

    def _why_void(self, seen: Cursor | str | None) -> str:
        """Why a client's cursor is of no use here; "" if it is, or if there is none."""
        if seen is None:
            return ""
        if not isinstance(seen, Cursor):
            return "unknown"
        if seen.epoch == self._epoch and seen.sequence <= self._position:
            return "history" if self.broker.history.has_lost(seen) else ""
        # Another worker may have heard more than was delivered here; only the store knows what was given out.
        head = self.broker.history.get_newest_cursor()
        if head.epoch != self._epoch:
            raise BrokerBehind("the history began anew, and this worker has yet to hear of it")
        if seen.epoch != head.epoch:
            return "epoch"
        if seen.sequence > head.sequence:
            return "future"
        return "history" if self.broker.history.has_lost(seen) else ""

    def _closed(self, stream: Stream) -> None:
        self._remove(stream)
        stream.notify_opener(stream)

    def _remove(self, stream: Stream) -> None:
        self._timer.remove(stream)
        with self._lock:
            self._streams.discard(stream)
            for channel in stream.channels:
                members = self._channels.get(channel, {})
                members.pop(stream, None)
                self._targets.pop(channel, None)
                if not members and self._channels.pop(channel, None) is not None:
                    del self._names[channel]
                    self._wanted.discard(channel)
                    self._latest.forget(channel)
                    self.broker.history.unsubscribe_channel(channel)

    def _readers(self, channel: str | None) -> Sequence[Stream]:
        """The streams of a channel; with None, all."""
        if channel is None:
            return self.list_streams()
        with self._lock:
            return self._targets_of(channel)

    # -- what the broker tells ---------------------------------------------

    def _listen(self) -> None:
        with hold_lock(self._listening, "the broker is asked"):
            if not self._epoch:
                told = Listener(
                    self._deliver,
                    lambda channels, head: self._survive(self._gap, channels, head),
                    lambda head: self._survive(self._renewed, head),
                    lambda reason: self._survive(self._lost, reason),
                    lambda: self._survive(self._found),
                )
                self._epoch, self._position = self.broker.history.start_delivery(told)
                self.replay.begin_anew(self._epoch)
                self._placed.set()
            if not self._has_orders:
                self.revocations.begin(self.broker, self._position)
                self._has_orders = True

    def _deliver(self, records: Sequence[Record]) -> None:
        """Give each record to its readers; one that fails costs the others nothing, and its readers hear of a gap."""
        self._placed.wait()
        for record in records:
            if not attempt("an event could not be delivered, and its readers are told so", self._give, record):
                self._survive(self._tell_gap, record.channel)

    def _give(self, record: Record) -> None:
        with self._lock:
            self._position = max(self._position, record.sequence)
            targets = self._targets_of(record.channel)
            self._note(record)
        if record.channel in (CHANNEL, ROOM_CHANNEL):
            self._fan_out.finish()  # what came before the order
            self.revocations.take(record)
        elif targets:
            self.delivered += len(targets)
            frame = encode.frame(record.body, "%s-%d" % (self._epoch, record.sequence))
            if record.latest is not None:
                frame = encode.LatestFrame.of(frame, (record.channel, record.latest))
            self._fan_out.send(targets, frame, record.channel, record.sequence)

    def _survive(self, work: Callable[..., None], *args: Any) -> None:
        """Do what the broker's word asks for; if that raises, all clients come back, and read what they missed."""
        if not attempt("what the broker said was not done, and all streams end", work, *args):
            self.abort_streams("an error was raised when the broker said something")

    def _note(self, record: Record) -> None:
        """What new subscribers get at once. With the lock held."""
        if record.latest is not None and record.channel in self._channels:
            self._latest.note(record)

    def _targets_of(self, channel: str) -> list[Stream]:
        """The streams of a channel as they are now: the list is not changed later. With the lock held."""
        targets = self._targets.get(channel)
        if targets is None and channel in self._channels:
            targets = self._targets[channel] = list(self._channels[channel])
        return targets or []

    def _gap(self, channels: Sequence[str], head: Cursor) -> None:
        self._placed.wait()
        self._fan_out.finish()  # what came before the gap
        for channel in channels:
            log.warning("events of channel %r were trimmed before this worker saw them", channel)
            self._tell_gap(channel)

    def _tell_gap(self, channel: str) -> None:
        """Its readers missed something; if it is the orders' channel, all clients are asked anew."""
        with self._lock:
            targets = self._targets_of(channel)
            self._wanted.discard(channel)  # so that the next asks for its latest events
            self._latest.forget(channel)
        self._fan_out.tell(targets, reset([channel], "history"))
        if channel == CHANNEL:
            self.revocations.lost()

    def _renewed(self, head: Cursor) -> None:
        self._placed.wait()
        self._fan_out.finish()  # what was delivered has places of the life before
        with self._lock:
            self.replay.begin_anew(head.epoch)  # before anyone asks it for the new life
            self._epoch, self._position = head
            self._wanted.clear()  # so that what is the latest in the new life is asked for
            self._latest.forget_all()
            self.revocations.forget_stops()
        for stream in self.list_streams():
            if stream.has_replay_left():
                stream.abort("the history began anew during its replay")
            else:
                stream.last_sequence = head.sequence
                stream.offer(reset(stream.channels, "epoch", head))
        self.revocations.renew(self.broker, head.sequence)

    def _lost(self, reason: str) -> None:
        log.error("the broker cannot be reached: %s", reason)
        self._timer.add(self._outage, self._timer.clock() + self._options.heartbeat)

    def _found(self) -> None:
        log.warning("the broker can be reached again")
        self._timer.remove(self._outage)
        if self._outage.told:
            self._outage.told = False
            self._fan_out.tell(self.list_streams(), RESTORED)


class _Outage:
    """Tells the clients when the broker has been away for longer than a heartbeat."""

    def __init__(self, mux: Hub) -> None:
        self._mux = mux
        self.timer_slot: int | None = None
        self.told = False

    def run_due_work(self, now: float) -> None:
        self.told = True
        self._mux._fan_out.tell(self._mux.list_streams(), DEGRADED)


def spread_retry(milliseconds: int) -> int:
    """A ``retry`` within ±50 %, so that not all clients return at once."""
    return max(1, int(milliseconds * random.uniform(0.5, 1.5)))
