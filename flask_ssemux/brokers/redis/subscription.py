"""One connection that is subscribed to channels: what was asked for, what was confirmed, what came."""

from __future__ import annotations

import threading
import time
from typing import Any, Iterable, List, Tuple

from ...errors import BrokerUnavailable
from ...util.supervise import survive
from .. import base
from ..base import Record
from .address import Address, driver

#: Seconds without a message after which the subscribed connection is asked whether it lives, and
#: the server who it is; half of it is the time to answer.
CHECK = 4.0

#: Seconds between two looks at what is no longer wanted, while nothing comes.
TICK = 1.0

#: Events that are handed over at a time.
BATCH = 500

#: Channels in one command.
CHANNELS = 500

#: The epoch that an announcement says, and the event.
News = List[Tuple[str, Record]]


class Confirmation:
    """That some channels are subscribed to; waits for the server to say so.

    :param channels: how many.
    """

    __slots__ = ("left", "ended", "is_whole")

    def __init__(self, channels: int) -> None:
        self.left = channels
        self.ended = threading.Event()
        self.is_whole = False

    def count(self) -> None:
        """One more is."""
        self.left -= 1
        if not self.left:
            self.is_whole = True
            self.ended.set()


class _Awaited:
    """A channel that was asked for: how often that has no answer yet, and who waits for the last answer."""

    __slots__ = ("count", "waiting")

    def __init__(self) -> None:
        self.count = 0
        self.waiting: list[Confirmation] = []


class Subscription:
    """One connection that is subscribed.

    :param changed: guards what is asked for and confirmed. ``want``, ``drop``, ``keep`` and ``close`` are called with
        it held.
    """

    def __init__(self, address: Address, announced: str, changed: threading.Condition) -> None:
        self._address = address
        self._changed = changed
        self._announced = announced.encode("utf-8")
        self._connection = address.connect(time.monotonic() + base.WAIT)
        self._sent: set[str] = set()
        self._dropped: set[str] = set()
        self._awaited: dict[str, _Awaited] = {}
        self._is_broken = False
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None
        self._kept_at = 0.0

    def want(self, channels: Iterable[str]) -> Confirmation | None:
        """Ask for what was not asked for yet; None if all is confirmed.

        :raises BrokerUnavailable: it cannot be sent.
        """
        names = set(channels)
        new = [channel for channel in names if channel not in self._sent]
        for channel in new:
            self._awaited.setdefault(channel, _Awaited()).count += 1
        awaited = [self._awaited[channel] for channel in names if channel in self._awaited]
        confirmation = Confirmation(len(awaited)) if awaited else None
        for one in awaited:
            one.waiting.append(confirmation)  # type: ignore[arg-type]
        self._sent.update(new)
        self._send("SUBSCRIBE", new)
        return confirmation

    def drop(self, channel: str) -> None:
        """It stays subscribed until ``keep``: a client that comes right back asks for nothing."""
        self._dropped.add(channel)

    def keep(self, wanted: set[str]) -> None:
        """Unsubscribe from what is no longer wanted, now and then."""
        now = time.monotonic()
        if self._dropped and now - self._kept_at >= TICK:
            self._kept_at = now
            unwanted = (self._dropped & self._sent) - wanted
            self._dropped.clear()
            self._sent -= unwanted
            self._send("UNSUBSCRIBE", list(unwanted))

    def wait_for(self, confirmation: Confirmation | None) -> None:
        """Until this is confirmed, heard by the caller. What is announced meanwhile is in the streams too."""
        deadline = time.monotonic() + base.WAIT
        while confirmation is not None and not confirmation.is_whole:
            self.take(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise BrokerUnavailable("the Redis store %s: no answer for %g s" % (self._address.shown, base.WAIT))

    def take(self, patience: float) -> News:
        """What has been announced; waits for the first."""
        news: News = []
        if self._is_broken:  # redis-py would connect anew, to no channel
            raise BrokerUnavailable("the connection to %s was lost" % self._address.shown)
        heard = 0
        while heard < BATCH and self._connection.can_read(0 if heard else patience):
            self._heard_at, self._asked_at = time.monotonic(), None
            heard += 1
            self._understand(self._connection.read_response(), news)
        return news

    def is_due(self) -> bool:
        """Whether it was silent for so long that it should be asked if it lives.

        :raises BrokerUnavailable: it was asked, and did not answer.
        """
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at > CHECK / 2:
            raise BrokerUnavailable("the Redis store %s: no answer for %g s" % (self._address.shown, CHECK / 2))
        return self._asked_at is None and now - self._heard_at > CHECK

    def ask(self) -> None:
        self._asked_at = time.monotonic()
        with self._changed:  # not amid another command
            self._connection.send_command("PING")

    def close(self) -> None:
        self._connection.disconnect()
        for awaited in self._awaited.values():
            for confirmation in awaited.waiting:
                confirmation.ended.set()

    def _send(self, command: str, channels: list[str]) -> None:
        names = [self._announced + channel.encode("utf-8") for channel in channels]
        try:
            for start in range(0, len(names), CHANNELS):
                self._connection.send_command(command, *names[start : start + CHANNELS])
        except (driver.RedisError, OSError) as error:
            self._is_broken = True
            raise BrokerUnavailable("the Redis store %s: %s" % (self._address.shown, error)) from error

    def _understand(self, answer: Any, news: News) -> None:
        if not isinstance(answer, list) or answer[0] == b"pong":
            return
        channel = (answer[1] or b"")[len(self._announced) :].decode("utf-8")
        if answer[0] == b"message":
            news.append(_read_announcement(channel, answer[2]))
        elif answer[0] == b"subscribe":
            with self._changed:
                self._confirm(channel)

    def _confirm(self, channel: str) -> None:
        awaited = self._awaited[channel]
        awaited.count -= 1
        if not awaited.count:
            del self._awaited[channel]
            for confirmation in awaited.waiting:
                confirmation.count()


def _read_announcement(channel: str, said: bytes) -> tuple[str, Record]:
    """The epoch and the event. What is none of ours has no epoch: then the streams are read, where all events are."""
    place, _, body = said.partition(b"\n")
    try:
        epoch, sequence, key = place.decode("utf-8").split(" ", 2)
        return epoch, Record(int(sequence), channel, body, key or None)
    except ValueError as error:
        survive("what was announced on Redis was not understood, and the streams are read", error)
        return "", Record(0, channel, b"")
