"""Revocation messages, which tell all processes that serve streams whose streams must end.

A message goes through the broker like an event, on a channel that no client reads. So it comes after the events that
were published before it, survives an outage, and reaches every machine. This file defines what a message says and its
form in JSON; ``hub/revocation_handler.py`` carries it out. No streams, no Flask and no gevent.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from ..brokers import Broker
from ..errors import ApplicationError, InvalidEvent
from ..sse import encode

#: The channel of revocation messages. Applications cannot publish on it, and clients cannot read it.
REVOCATION_CHANNEL = encode.OWN_PREFIX + "control"

#: The channel of messages that end a user's oldest stream. It is a channel of its own because a single user can cause
#: so many of them that older ones are trimmed, and no other revocation may be trimmed with them.
EVICTION_CHANNEL = encode.OWN_PREFIX + "room"

#: The channel of messages that ask each worker to write how many slots of a user it took: see ``worker/user_limit.py``.
SLOTS_CHANNEL = encode.OWN_PREFIX + "slots"

#: The maximum length of a reason, in characters: every stream that ends is sent the reason.
REASON_LENGTH = 500


def ask_for_slots(broker: Broker, key: str) -> None:
    """Ask each worker to write how many slots under this key it took.

    :raises BrokerUnavailable: the message was not accepted.
    """
    broker.history.append_event(SLOTS_CHANNEL, key.encode("utf-8"))


class Revocation(NamedTuple):
    """Which streams must end: those that match both ``user`` and ``channel``; None matches all.

    :param user: the user whose streams end.
    :param channel: a channel that they read.
    :param stop: whether their clients must stay away.
    :param reason: the reason that their clients are sent.
    :param holder: the process that ends one stream, the user's oldest, to make room for a new one. If it is None, all
        streams that match end.
    :param by: names the request that needs this room, so that its own stream is not ended.
    """

    user: str | None = None
    channel: str | None = None
    stop: bool = False
    reason: str = ""
    holder: str | None = None
    by: str | None = None

    def to_json(self) -> bytes:
        """Return the message as JSON."""
        message = {name: value for name, value in self._asdict().items() if value not in (None, False)}
        if self.stop:
            message["at"] = round(time.time(), 3)
        return json.dumps(message).encode("ascii")

    @classmethod
    def from_json(cls, body: bytes) -> Revocation:
        """Read what ``to_json`` made. Fields that a later version adds are ignored.

        :raises ValueError: it is not a revocation message.
        """
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("a message of %d bytes is not an object" % len(body))
        revocation = cls(**{name: value for name, value in message.items() if name in cls._fields})
        if not revocation._is_well_typed():
            raise ValueError("a message of %d bytes has a value of the wrong type" % len(body))
        if revocation.user is None and revocation.channel is None:
            raise ValueError("a message of %d bytes names neither a user nor a channel" % len(body))
        return revocation

    def _is_well_typed(self) -> bool:
        names = (self.user, self.channel, self.holder, self.by)
        return all(name is None or isinstance(name, str) for name in names) and isinstance(self.reason, str)


def get_age(body: bytes) -> float:
    """Return the seconds since a message with ``stop`` was sent, by the clocks of two machines; infinity if unknown.

    :raises ValueError: it is not a revocation message.
    """
    at = json.loads(body).get("at")
    return time.time() - at if isinstance(at, (int, float)) else float("inf")


class RevocationSender:
    """Sends revocation messages to the broker that a subclass provides: ``disconnect`` and ``revoke``."""

    def _get_broker(self) -> Broker:
        raise NotImplementedError

    def _get_publishing_broker(self) -> Broker:
        """Return the broker, if this process may publish on it.

        :raises ConfigurationError: another application would get what is published.
        """
        return self._get_broker()

    def disconnect(
        self,
        user_id: Any = None,
        *,
        channel: str | None = None,
        stop: bool = False,
        reason: str = "disconnected",
    ) -> str:
        """End all streams of a user, or of a channel, in every process and on every machine.

        The clients reconnect, and are identified and authorized again; so change what ``identify`` and ``authorize``
        return before this call. Takes either a user or a channel::

            mux.disconnect(user_id)
            mux.disconnect(channel="jobs:42")

        :param user_id: a str, int or UUID, as ``identify`` returns it.
        :param channel: end the streams that read it.
        :param stop: tell the clients to stay away. For a minute they are let in only with a cursor that is newer than
            this call; after that, a page that is loaded again is authorized as usual.
        :param reason: the text that the clients are sent.
        :return: the cursor of the message; events that are published after it do not reach these streams.
        :raises ApplicationError: neither or both of user and channel were given.
        :raises InvalidEvent: (or a subclass) an invalid user id or channel, or a reason that is not a text.
        :raises BrokerUnavailable: the message was not accepted, or may not have been, as for ``publish``.
        """
        if (user_id is None) == (channel is None):
            raise ApplicationError(
                "disconnect takes either a user's id or a channel, not user_id=%r and channel=%r; "
                "revoke(user_id, channel) ends the streams of one user that read one channel" % (user_id, channel)
            )
        user = None if user_id is None else encode.check_user_id(user_id)
        channel = None if channel is None else encode.check_channel(channel)
        return self._send_revocation(Revocation(user, channel, bool(stop), reason))

    def revoke(self, user_id: Any, channel: str, *, reason: str = "revoked") -> str:
        """End the streams of one user that read one channel. The rest is as for ``disconnect``."""
        user, channel = encode.check_user_id(user_id), encode.check_channel(channel)
        return self._send_revocation(Revocation(user, channel, False, reason))

    def _send_revocation(self, revocation: Revocation) -> str:
        reason = revocation.reason
        if not isinstance(reason, str) or len(reason) > REASON_LENGTH:
            raise InvalidEvent("a reason is a text of at most %d characters, not %.80r" % (REASON_LENGTH, reason))
        encode.make_comment(reason)
        return str(self._get_publishing_broker().history.append_event(REVOCATION_CHANNEL, revocation.to_json()))
