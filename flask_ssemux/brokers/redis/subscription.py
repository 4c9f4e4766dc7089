"""One connection that is subscribed to channels: it requests channels, counts confirmations, and receives events."""

from __future__ import annotations

import threading
import time
from typing import Any, Iterable, List, Tuple

from ...errors import BrokerUnavailable
from ...util.supervise import survive
from ..contract import constants
from ..records import Record
from .address import Address
from .driver import driver
from .link import pack_command

#: Seconds without a message after which the connection is checked with a PING, and the server is asked which one it is;
#: half of it is the time to answer.
CHECK = 4.0

#: Seconds between two times that dropped channels are unsubscribed.
TICK = 1.0

#: Events that are received at a time.
BATCH = 500

#: Channels in one command.
CHANNELS = 500

#: The mark of an announcement (see ``StoreState``), and the event.
News = List[Tuple[str, Record]]


class Confirmation:
    """The server's confirmation of a subscription to some channels.

    :param channels: how many.
    """

    __slots__ = ("left", "ended", "is_complete")

    def __init__(self, channels: int) -> None:
        self.left = channels
        self.ended = threading.Event()
        self.is_complete = False

    def count_channel(self) -> None:
        """One more channel is confirmed."""
        self.left -= 1
        if not self.left:
            self.is_complete = True
            self.ended.set()


class _RequestedChannel:
    """A channel that was requested: how many requests have no answer yet, and what waits for the last answer."""

    __slots__ = ("count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: list[Confirmation] = []


class Subscription:
    """One connection that is subscribed.

    :param announced: the beginning of the names under which events are announced.
    :param changed: guards what is requested and confirmed. ``request_channels``, ``drop_channel``,
        ``unsubscribe_dropped`` and ``close`` are called with it held.
    """

    def __init__(self, address: Address, announced: str, changed: threading.Condition) -> None:
        self._address = address
        self._changed = changed
        self._announced = announced.encode("utf-8")
        self._connection = address.connect(time.monotonic() + constants.WAIT_SECONDS)
        self._sent: set[str] = set()
        self._dropped: set[str] = set()
        self._awaited: dict[str, _RequestedChannel] = {}
        self._is_broken = False
        self._received_at = time.monotonic()
        self._checked_at: float | None = None
        self._unsubscribed_at = 0.0

    def request_channels(self, channels: Iterable[str]) -> Confirmation | None:
        """Subscribe to the channels that were not requested before; return None if all are confirmed.

        :raises BrokerUnavailable: the request cannot be sent.
        """
        names = set(channels)
        new = [channel for channel in names if channel not in self._sent]
        for channel in new:
            self._awaited.setdefault(channel, _RequestedChannel()).count += 1
        awaited = [self._awaited[channel] for channel in names if channel in self._awaited]
        confirmation = Confirmation(len(awaited)) if awaited else None
        for one in awaited:
            one.waiting.append(confirmation)  # type: ignore[arg-type]
        self._sent.update(new)
        self._send("SUBSCRIBE", new)
        return confirmation

    def drop_channel(self, channel: str) -> None:
        """The channel stays subscribed until ``unsubscribe_dropped``: a client that returns at once causes no
        request."""
        self._dropped.add(channel)

    def unsubscribe_dropped(self, needed: set[str]) -> None:
        """Unsubscribe from dropped channels that are not needed again, every ``TICK`` seconds."""
        now = time.monotonic()
        if self._dropped and now - self._unsubscribed_at >= TICK:
            self._unsubscribed_at = now
            unwanted = (self._dropped & self._sent) - needed
            self._dropped.clear()
            self._sent -= unwanted
            self._send("UNSUBSCRIBE", list(unwanted))

    def wait_for(self, confirmation: Confirmation | None) -> None:
        """Receive until the confirmation is complete. What is announced meanwhile is in the streams too, and is left
        out."""
        deadline = time.monotonic() + constants.WAIT_SECONDS
        while confirmation is not None and not confirmation.is_complete:
            self.receive(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise BrokerUnavailable(
                    "the Redis store %s: no answer for %g s" % (self._address.shown, constants.WAIT_SECONDS)
                )

    def receive(self, timeout: float) -> News:
        """Return what has been announced; wait for the first message."""
        news: News = []
        if self._is_broken:  # redis-py would connect again, without a subscription
            raise BrokerUnavailable("the connection to %s was lost" % self._address.shown)
        received, has_answer = 0, self._connection.can_read(timeout)
        while has_answer and received < BATCH:
            self._received_at, self._checked_at = time.monotonic(), None
            received += 1
            self._handle_answer(self._connection.read_answer(), news)
            has_answer = self._connection.has_answer()
        return news

    def is_at_owner(self) -> bool:
        """Return whether the connection's server has the store's keys, as far as this process knows."""
        return self._address.is_current(self._connection)

    def is_check_due(self) -> bool:
        """Return whether the connection was silent for so long that it must be checked.

        :raises BrokerUnavailable: it was checked, and did not answer.
        """
        now = time.monotonic()
        if self._checked_at is not None and now - self._checked_at > CHECK / 2:
            raise BrokerUnavailable("the Redis store %s: no answer for %g s" % (self._address.shown, CHECK / 2))
        return self._checked_at is None and now - self._received_at > CHECK

    def send_check(self) -> None:
        self._checked_at = time.monotonic()
        with self._changed:  # not in the middle of another command
            self._connection.send(pack_command(("PING",)))

    def close(self) -> None:
        self._connection.disconnect()
        for awaited in self._awaited.values():
            for confirmation in awaited.waiting:
                confirmation.ended.set()

    def _send(self, command: str, channels: list[str]) -> None:
        names = [self._announced + channel.encode("utf-8") for channel in channels]
        try:
            for start in range(0, len(names), CHANNELS):
                self._connection.send(pack_command((command, *names[start : start + CHANNELS])))
        except (driver.RedisError, OSError) as error:
            self._is_broken = True
            raise self._address.make_refusal(error) from None

    def _handle_answer(self, answer: Any, news: News) -> None:
        if not isinstance(answer, list) or answer[0] == b"pong":
            return
        channel = (answer[1] or b"")[len(self._announced) :].decode("utf-8")
        if answer[0] == b"message":
            news.append(_parse_announcement(channel, answer[2]))
        elif answer[0] == b"subscribe":
            with self._changed:
                self._confirm(channel)

    def _confirm(self, channel: str) -> None:
        awaited = self._awaited[channel]
        awaited.count -= 1
        if not awaited.count:
            del self._awaited[channel]
            for confirmation in awaited.waiting:
                confirmation.count_channel()


def _parse_announcement(channel: str, message: bytes) -> tuple[str, Record]:
    """Return the mark and the event. A message of another program has no mark: then the streams, which have all events,
    are read."""
    head, _, body = message.partition(b"\n")
    try:
        mark, sequence, key = head.decode("utf-8").split(" ", 2)
        return mark, Record(int(sequence), channel, body, key or None)
    except ValueError:  # its text quotes the message, which may be an event of another program
        error = ValueError("a message of %d bytes that another program sent" % len(message))
    survive("an announcement on Redis was not understood, and the streams are read", error)
    return "", Record(0, channel, b"")
