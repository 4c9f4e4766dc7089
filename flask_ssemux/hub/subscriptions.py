"""Which streams read which channels, up to where events were delivered here, and the latest events as of then.

All of it changes under one lock, so that a stream joins its channels without a gap between its replay and its live
events, and without an event that is in both. Nothing is sent here.
"""

from __future__ import annotations

import threading
from typing import Sequence

from ..brokers import EventHistory, Record, SubscriptionStart
from ..errors import BrokerUnavailable
from ..sse.cursor import Cursor
from .latest import LatestEvents
from .stream import Stream
from .subscription_rounds import SubscriptionRounds


class Subscriptions:
    """The streams of one process by channel.

    :param history: is asked to deliver the channels that have streams.
    :param latest: is kept up to date.
    :param is_shared: whether other processes see the history.
    """

    def __init__(self, history: EventHistory, latest: LatestEvents, is_shared: bool = True) -> None:
        self._history = history
        #: Asks the broker to deliver channels. A broker in this process answers faster than others come.
        self._subscribe_channels = (
            SubscriptionRounds(history).subscribe_channels if is_shared else history.subscribe_channels
        )
        self._latest = latest
        self._lock = threading.RLock()
        self._streams: set[Stream] = set()
        #: The streams of each channel in the order in which they joined. This is also their order in memory, ours and
        #: the kernel's, so a fan-out touches memory in order.
        self._channels: dict[str, dict[Stream, None]] = {}
        #: The same as lists, made when an event needs them. A list is never changed.
        self._subscribers: dict[str, list[Stream]] = {}
        #: The text of each channel, one object for all streams.
        self._names: dict[str, str] = {}
        #: Channels that the broker delivers, and whose latest events are known here.
        self._delivered: set[str] = set()
        #: The epoch of the history; "" before the first stream. The sequence up to which events were delivered here.
        self.epoch = ""
        self.position = 0

    def __len__(self) -> int:
        return len(self._streams)

    # -- reading -----------------------------------------------------------

    def list_streams(self) -> list[Stream]:
        """Return the open streams."""
        with self._lock:
            return list(self._streams)

    def list_channels(self) -> list[str]:
        """Return the channels that have streams."""
        with self._lock:
            return list(self._channels)

    def list_subscribers(self, channel: str | None) -> Sequence[Stream]:
        """Return the streams of a channel; all streams for None."""
        if channel is None:
            return self.list_streams()
        known = self._subscribers.get(channel)
        if known is not None:
            return known
        with self._lock:
            return self._get_subscribers(channel)

    # -- streams that come and go ------------------------------------------

    def add_stream(self, stream: Stream, cursor: Cursor | None, has_new: bool) -> tuple[Cursor, list[Record]]:
        """Join a stream to its channels, whose names then are the same objects that other streams have.

        :param cursor: the last event that the client has seen, if its replay begins there.
        :param has_new: whether the client begins to read some channels now. It must not get events of them that were
            published before, even if they are delivered here later.
        :return: the cursor after which the stream gets every event live, and the latest events as of then.
        :raises BrokerUnavailable: the broker cannot be asked to deliver the channels.
        """
        with self._lock:
            stream.channels = tuple(self._names.setdefault(channel, channel) for channel in stream.channels)
            for channel in stream.channels:
                self._channels.setdefault(channel, {})[stream] = None
                self._subscribers.pop(channel, None)
            # A client that was connected to another worker may have seen more than was delivered here.
            is_ahead = cursor is not None and cursor.epoch == self.epoch and cursor.sequence > self.position
            missing = [channel for channel in stream.channels if is_ahead or channel not in self._delivered]
        epoch, (position, latest) = self.epoch, self._subscribe(missing, stream.channels if has_new else ())
        with self._lock:
            if epoch == self.epoch:
                # A channel whose last stream has ended meanwhile is subscribed again for its next stream.
                self._delivered.update(channel for channel in missing if channel in self._channels)
                for record in latest:
                    self._note_latest(record)
            # The stream accepts no event before these lines. The position moves under this lock, so each event after it
            # will come to this stream, and every other event can be read. Channels that were subscribed above are
            # delivered only after `position`, also to streams that join them later, so ours moves there.
            if epoch != self.epoch:
                position = 0  # a position in the epoch that has just ended
            self.position = max(position, self.position)
            stream.last_sequence = self.position
            if cursor is not None and cursor.epoch == self.epoch:
                stream.last_sequence = max(stream.last_sequence, cursor.sequence)
            self._streams.add(stream)
            latest = self._latest.list_records(stream.channels) if self._latest.kept else []
            return Cursor(self.epoch, stream.last_sequence), latest

    def remove_stream(self, stream: Stream) -> None:
        """Remove a stream from its channels. Further calls do nothing."""
        with self._lock:
            self._streams.discard(stream)
            for channel in stream.channels:
                members = self._channels.get(channel, {})
                members.pop(stream, None)
                self._subscribers.pop(channel, None)
                if not members and self._channels.pop(channel, None) is not None:
                    del self._names[channel]
                    self._delivered.discard(channel)
                    self._latest.forget_channel(channel)
                    self._history.unsubscribe_channel(channel)

    def disown(self) -> None:
        """In a forked child: the streams are the parent's. No lock is taken: its holder may not exist here."""
        for stream in self._streams:
            stream.disown()
        self._streams, self._channels, self._subscribers = set(), {}, {}

    # -- what the broker delivers ------------------------------------------

    def move_past(self, record: Record) -> Sequence[Stream]:
        """Count an event as delivered here. Return the streams that get it."""
        with self._lock:
            self.position = max(self.position, record.sequence)
            self._note_latest(record)
            return self._get_subscribers(record.channel)

    def forget_latest(self, channel: str) -> Sequence[Stream]:
        """Forget a channel's latest events, some of which were missed. Return its streams."""
        with self._lock:
            self._delivered.discard(channel)  # so that the next stream asks the broker for them
            self._latest.forget_channel(channel)
            return self._get_subscribers(channel)

    def begin_epoch(self, newest: Cursor) -> None:
        """A new epoch of the history began.

        :param newest: the cursor after which its events are delivered.
        """
        with self._lock:
            self.epoch, self.position = newest
            self._delivered.clear()  # so that the next streams ask for the latest events of this epoch
            self._latest.forget_all()

    # ----------------------------------------------------------------------

    def _subscribe(self, missing: Sequence[str], beginning: Sequence[str]) -> SubscriptionStart:
        """Ask the broker to deliver channels. It must be asked for the missing ones; the others only make it newer."""
        try:
            asked = beginning or missing
            return self._subscribe_channels(asked) if asked else SubscriptionStart(0, [])
        except BrokerUnavailable:
            if missing:
                raise
            return SubscriptionStart(0, [])  # while the broker is away, nothing newer than what is known here exists

    def _note_latest(self, record: Record) -> None:
        """With the lock held."""
        if record.latest_key is not None and record.channel in self._channels:
            self._latest.add_record(record)

    def _get_subscribers(self, channel: str) -> list[Stream]:
        """With the lock held."""
        subscribers = self._subscribers.get(channel)
        if subscribers is None and channel in self._channels:
            subscribers = self._subscribers[channel] = list(self._channels[channel])
        return subscribers or []
