"""Carries out revocation messages on the streams of this process, and remembers which clients must stay away.

The hub passes on what comes on the revocations' channels, between the events before it and those after it. What a
message may say, and how it travels, is in ``publishing/revocation.py``. No HTTP; nothing is published.
"""

from __future__ import annotations

import time
from typing import Callable, Iterable, Iterator, Sequence

from ..brokers import PAGE_BYTES, EventHistory, Merge, Range, Record
from ..errors import BrokerUnavailable
from ..publishing.revocation import EVICTION_CHANNEL, REVOCATION_CHANNEL, SLOTS_CHANNEL, Revocation, get_age
from ..runs.messages import WORK_CHANNEL
from ..sse import encode
from ..util.supervise import attempt
from .fanout import SLICE
from .stay_away import StayAway, Target, list_targets
from .stream import Stream

#: The channels whose messages are for the processes.
MESSAGE_CHANNELS = (REVOCATION_CHANNEL, EVICTION_CHANNEL, SLOTS_CHANNEL, WORK_CHANNEL)

#: How many targets are remembered for streams that are being opened: their rules may have been asked before a
#: revocation came.
RECENT = 10_000

#: How many targets that must stay away are remembered.
STOPS = 10_000

#: How many old messages are read at a time.
PAGE = 500


class RevocationHandler:
    """What was revoked, and for whom.

    :param list_subscribers: returns the streams of a channel, or all for None.
    :param make_last_frame: returns the last frame of a stream whose client may come back, for a reason.
    :param yield_control: lets the transports take what waits.
    """

    def __init__(
        self,
        list_subscribers: Callable[[str | None], Sequence[Stream]],
        make_last_frame: Callable[[str], bytes],
        yield_control: Callable[[], None],
    ) -> None:
        self._list_subscribers = list_subscribers
        self._make_last_frame = make_last_frame
        self._yield_control = yield_control
        #: How many messages have come.
        self.received = 0
        #: The last message for each target, and its number; oldest first.
        self._recent: dict[Target, tuple[int, Revocation]] = {}
        #: The number of the newest message that was forgotten.
        self._forgotten = 0
        #: The sequence of the last message by which each target must stay away; oldest first.
        self._stops: dict[Target, int] = {}
        #: Targets that were asked to stay away a moment ago.
        self.stay_away = StayAway()
        #: Ends the oldest stream of a user, if the message is for this process. Set where there can be such messages.
        self.evict_oldest: Callable[[Revocation], None] = lambda revocation: None
        #: Writes how many of a user's slots were taken here; receives their key. Set by the worker.
        self.write_user_slots: Callable[[str], None] = lambda key: None
        #: Handles a message about feeds and runs. Set by the worker.
        self.handle_work: Callable[[bytes], None] = lambda body: None

    def start(self, history: EventHistory, position: int) -> None:
        """Have messages delivered from now on, and read in the history who must stay away.

        :raises BrokerUnavailable: the store did not answer.
        """
        position = max(position, history.subscribe_channels(MESSAGE_CHANNELS).after)
        for record in _read_messages(history, position):
            attempt("an old revocation message is malformed, and is ignored", self._remember_old, record)

    def handle_new_epoch(self, history: EventHistory, position: int) -> None:
        """Carry out the messages with which the new epoch began. Its later ones are delivered."""
        try:
            for record in _read_messages(history, position):
                self.handle_record(record)
        except BrokerUnavailable:
            self.end_all_streams()

    def end_all_streams(self) -> None:
        """Messages were lost, so they may have been for any client: all clients are asked again who they are."""
        self.apply(Revocation(reason="orders were lost"))

    def forget_stops(self) -> None:
        """A new epoch began: the sequences of old messages mean nothing any more."""
        self._stops.clear()

    def handle_record(self, record: Record) -> None:
        """A message has come. One that fails may have been for any client: all clients are asked again."""
        if record.channel == EVICTION_CHANNEL:
            attempt("a user's oldest stream could not be ended", self._make_room, record)
        elif record.channel == SLOTS_CHANNEL:
            attempt("a user's slots could not be written", self.write_user_slots, record.body.decode("utf-8"))
        elif record.channel == WORK_CHANNEL:
            attempt("a message about feeds or runs failed", self.handle_work, record.body)
        elif not attempt("a revocation message failed, so all streams end", self._handle_message, record):
            self.end_all_streams()

    def _make_room(self, record: Record) -> None:
        self.received += 1
        self.evict_oldest(Revocation.from_json(record.body))

    def _handle_message(self, record: Record) -> None:
        revocation = self._remember(record)
        if revocation.holder is not None:  # an older version of this package sends these on this channel
            self.evict_oldest(revocation)
        else:
            self.apply(revocation)

    def apply(self, revocation: Revocation) -> None:
        """End the streams that are meant. If neither a user nor a channel is named, end all."""
        self._yield_control()  # clients that read in time have then received what came before
        meant = [stream for stream in self._list_subscribers(revocation.channel) if _is_meant(stream, revocation)]
        for number, stream in enumerate(meant, 1):
            self.end_stream(stream, revocation)
            if number % SLICE == 0:
                self._yield_control()

    def apply_missed(self, stream: Stream, received: int) -> None:
        """Apply to a stream that has just joined what came since ``received`` had this value."""
        if self.received == received:
            return
        if received < self._forgotten:
            self.end_stream(stream, Revocation(reason="it was opened too slowly"))
        for number, revocation in reversed(list(self._recent.values())):
            if number <= received:
                break
            if _is_meant(stream, revocation):
                self.end_stream(stream, revocation)

    def is_stopped(self, user_id: str | None, channels: Iterable[str], sequence: int) -> bool:
        """Return whether a client was told to stay away after the event of this sequence, the last that it saw."""
        return any(self._stops.get(target, -1) > sequence for target in list_targets(user_id, channels))

    def end_stream(self, stream: Stream, revocation: Revocation) -> None:
        """End a stream as a message says."""
        reason = revocation.reason
        last = self._make_last_frame(reason)
        if revocation.holder is not None:  # its client may read what waits: nothing was forbidden
            stream.close(reason, last + encode.make_stay_away_frame("replaced", reason))
        else:
            end_forbidden_stream(
                stream, reason, last + (encode.make_stay_away_frame("stop", reason) if revocation.stop else b"")
            )

    def _remember_old(self, record: Record) -> None:
        self._remember(record, get_age(record.body))

    def _remember(self, record: Record, age: float = 0.0) -> Revocation:
        """
        :param age: of an old message, in seconds. That of a new message is not computed, since clocks may differ.
        """
        revocation = Revocation.from_json(record.body)
        self.received += 1
        if revocation.holder is not None:
            return revocation
        target = revocation.user, revocation.channel
        self._recent.pop(target, None)
        self._recent[target] = self.received, revocation
        if len(self._recent) > RECENT:
            self._forgotten, _ = self._recent.pop(next(iter(self._recent)))
        if revocation.stop:
            self.stay_away.add(target, time.monotonic(), age)
            # Old messages are read while new ones come.
            self._stops[target] = max(record.sequence, self._stops.pop(target, 0))
            if len(self._stops) > STOPS:
                del self._stops[next(iter(self._stops))]
        return revocation


def _read_messages(history: EventHistory, position: int) -> Iterator[Record]:
    """Yield the messages that the history has up to a position, oldest first."""
    merge, is_whole = Merge(history.read_channels, {REVOCATION_CHANNEL: Range(0, position)}), False
    while not is_whole:
        records, _, is_whole = merge.read_page(PAGE, PAGE_BYTES)
        yield from records


def end_forbidden_stream(stream: Stream, reason: str, last: bytes) -> None:
    """End a stream that its client may no longer read: cleanly, unless its client would read what still waits."""
    if stream.has_replay_left() or stream.queue_size[0]:
        stream.abort(reason)
    else:
        stream.close(reason, last)


def _is_meant(stream: Stream, revocation: Revocation) -> bool:
    is_user_meant = revocation.user is None or stream.user_id == revocation.user
    return is_user_meant and (revocation.channel is None or revocation.channel in stream.channels)
