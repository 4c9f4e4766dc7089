"""Orders to all processes that serve streams: whose streams must end, and how they travel.

An order goes through the broker as events do, on a channel that no client reads: so it comes after the events
that were published before it, outlives an outage, and reaches every machine. What may be ordered, and its form in
JSON; ``revocation_handler.py`` carries it out. Knows neither Flask nor gevent, and no streams.
"""

from __future__ import annotations

import json
import time
from typing import Any, NamedTuple

from ..brokers import Broker
from ..errors import ApplicationError, InvalidEvent
from ..sse import encode

#: Where orders travel. Applications cannot publish here, and clients cannot read it.
CHANNEL = encode.OWN_PREFIX + "control"

#: Where orders to make room for a user's next stream travel: one user can cause so many that older ones are
#: trimmed, and those on the other channel must not be among them.
ROOM_CHANNEL = encode.OWN_PREFIX + "room"

#: Longest reason, in characters: every stream that ends is sent it.
REASON_LENGTH = 500


class Revocation(NamedTuple):
    """Which streams must end. A stream is meant if it has all that is named.

    :param user: whose they are.
    :param channel: what they read.
    :param stop: whether their clients must not come back.
    :param reason: what their clients are told.
    :param holder: the process that ends one stream, the user's oldest, to make room for a new one; else all end.
    """

    user: str | None = None
    channel: str | None = None
    stop: bool = False
    reason: str = ""
    holder: str | None = None

    def body(self) -> bytes:
        told = {name: value for name, value in self._asdict().items() if value not in (None, False)}
        if self.stop:
            told["at"] = round(time.time(), 3)
        return json.dumps(told).encode("ascii")

    @classmethod
    def of(cls, body: bytes) -> Revocation:
        """What ``body`` made; what a later version adds is left out.

        :raises ValueError: it is no order.
        """
        told = json.loads(body)
        if not isinstance(told, dict):
            raise ValueError("%.200r is no object" % body)
        order = cls(**{name: value for name, value in told.items() if name in cls._fields})
        if not order._is_well_typed():
            raise ValueError("%.200r has a value of the wrong type" % body)
        if order.user is None and order.channel is None:
            raise ValueError("%.200r names neither a user nor a channel" % body)
        return order

    def _is_well_typed(self) -> bool:
        names = (self.user, self.channel, self.holder)
        return all(name is None or isinstance(name, str) for name in names) and isinstance(self.reason, str)


def age_of(body: bytes) -> float:
    """Seconds since an order to stay away was given, by the clocks of two machines; of one that does not say, many.

    :raises ValueError: it is no order.
    """
    at = json.loads(body).get("at")
    return time.time() - at if isinstance(at, (int, float)) else float("inf")


class RevocationSender:
    """``disconnect`` and ``revoke``, onto a broker."""

    def _broker(self) -> Broker:
        raise NotImplementedError

    def _store(self) -> Broker:
        """Return the broker that takes what is published.

        :raises ConfigurationError: another application would get it too.
        """
        return self._broker()

    def disconnect(
        self, user_id: Any = None, channel: str | None = None, stop: bool = False, reason: str = "disconnected"
    ) -> str:
        """End all streams of a user, or of a channel, in every process and on every machine.

        Their clients come back, and are asked anew who they are and what they may read; so change what ``identify``
        and ``authorize`` answer first. Takes one of the two::

            mux.disconnect(user_id)
            mux.disconnect(channel="jobs:42")

        :param user_id: text, int or UUID, as ``identify`` returns it.
        :param stop: tell the clients to stay away. For a minute no client of them is let in, unless it says a cursor
            that is newer than the order; then a page that is loaded again is asked as ever.
        :param reason: what the clients are told.
        :return: the order's cursor; what is published after it does not reach these streams.
        :raises ApplicationError: not one of the two was given.
        :raises InvalidEvent: (or a subclass) a user's id or a channel that cannot be, or a reason that is no text.
        :raises BrokerUnavailable: the order was not accepted; or nobody can tell, as for ``publish``.
        """
        if (user_id is None) == (channel is None):
            raise ApplicationError(
                "disconnect takes a user's id or a channel, one of them, not user_id=%r and channel=%r; the streams of "
                "one user that read one channel are revoke's" % (user_id, channel)
            )
        user = None if user_id is None else encode.check_user_id(user_id)
        channel = None if channel is None else encode.check_channel(channel)
        return self._order(Revocation(user, channel, bool(stop), reason))

    def revoke(self, user_id: Any, channel: str, reason: str = "revoked") -> str:
        """End the streams of a user that read a channel; the client is asked anew, as by ``disconnect``."""
        return self._order(Revocation(encode.check_user_id(user_id), encode.check_channel(channel), False, reason))

    def _order(self, order: Revocation) -> str:
        if not isinstance(order.reason, str) or len(order.reason) > REASON_LENGTH:
            raise InvalidEvent("a reason is a text of at most %d characters, not %.80r" % (REASON_LENGTH, order.reason))
        encode.comment(order.reason)
        return str(self._store().history.append_event(CHANNEL, order.body()))
