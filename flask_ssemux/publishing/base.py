"""``publish`` and its relatives: what an application and a ``Publisher`` have in common.

An event is checked, encoded and appended to the broker. No streams, no Flask and no gevent.
"""

from __future__ import annotations

from typing import Any

from ..sse import encode
from ..util import forks
from .on_commit import WaitingEvent, wait_for_commit
from .revocation import RevocationSender

#: After this many events the publishing greenlet yields. Under gevent a loop that publishes would otherwise keep the
#: streams of its own worker from sending the events.
YIELD_EVERY = 50


class PublisherBase(RevocationSender):
    """Publishes onto the broker that a subclass provides."""

    #: The maximum size of an encoded event, in bytes.
    max_event_bytes: int

    _published_count = 0

    def _keeps_latest(self, channel: str) -> bool:
        """Return whether all events of this channel are published with ``latest``."""
        return False

    def publish(self, channel: str, data: Any, event: str | None = None, *, latest: bool = False) -> str:
        """Send an event to everyone who reads a channel, now or after reconnecting.

        :param channel: its name, 1 to 255 characters.
        :param data: a str is sent unchanged, anything else as JSON.
        :param event: the event's name; None is the standard's default, ``message``.
        :param latest: only the newest event of this channel and name counts: it replaces the one before it, in the
            history and in the queue of a slow client, and new subscribers get it at once.
        :return: the event's cursor, which clients see as its ``id``.
        :raises InvalidEvent: (or a subclass) names the value and the rule; nothing is stored.
        :raises BrokerUnavailable: the event was not accepted. If the connection to the store broke before the store
            answered, the event may have been accepted; it is then sent once.
        """
        body = encode.make_body(channel, data, event, self.max_event_bytes)
        return self._append(channel, body, self._choose_key(channel, event, latest))

    def send_to_user(self, user_id: Any, data: Any, event: str | None = None, *, latest: bool = False) -> str:
        """Send an event to all streams of one user. The other parameters and errors are those of ``publish``.

        :param user_id: a str, int or UUID, as ``identify`` returns it.
        """
        return self.publish(encode.user_channel(user_id), data, event, latest=latest)

    def broadcast(self, data: Any, event: str | None = None, *, latest: bool = False) -> str:
        """Send an event to everyone. Parameters and errors are those of ``publish``."""
        return self.publish(encode.EVERYONE, data, event, latest=latest)

    def publish_on_commit(
        self, session: Any, channel: str, data: Any, event: str | None = None, *, latest: bool = False
    ) -> None:
        """Publish when the session's transaction is committed, and not at all when it is rolled back.

        The event is checked and encoded by this call, and sent after the commit, in the order of the calls. An event
        that was published within a savepoint is dropped if the savepoint is rolled back. If the broker is unavailable
        after the commit, the transaction stays committed and an error is logged.

        :param session: Flask-SQLAlchemy's ``db.session``, or a ``Session`` of SQLAlchemy 1.4 or newer.
        :raises InvalidEvent: as for ``publish``, raised by this call; the event is not sent.
        :raises ApplicationError: ``session`` is not such a session.
        """
        body = encode.make_body(channel, data, event, self.max_event_bytes)
        key = self._choose_key(channel, event, latest)
        wait_for_commit(session, WaitingEvent(lambda: self._append(channel, body, key), channel, event))

    def send_to_user_on_commit(
        self, session: Any, user_id: Any, data: Any, event: str | None = None, *, latest: bool = False
    ) -> None:
        """Call ``send_to_user`` when the session's transaction is committed; see ``publish_on_commit``."""
        self.publish_on_commit(session, encode.user_channel(user_id), data, event, latest=latest)

    def broadcast_on_commit(self, session: Any, data: Any, event: str | None = None, *, latest: bool = False) -> None:
        """Call ``broadcast`` when the session's transaction is committed; see ``publish_on_commit``."""
        self.publish_on_commit(session, encode.EVERYONE, data, event, latest=latest)

    def cursor(self) -> str:
        """Return the cursor of the newest event. A page that is rendered with it opens its stream from there.

        :raises BrokerUnavailable: the store did not answer.
        """
        return str(self._get_broker().history.get_newest_cursor())

    def _choose_key(self, channel: str, event: str | None, latest: bool) -> str | None:
        """Return the key under which only the newest event is kept; None keeps all events."""
        return (event or "message") if latest or self._keeps_latest(channel) else None

    def _append(self, channel: str, body: bytes, key: str | None) -> str:
        cursor = self._get_publishing_broker().history.append_event(channel, body, key)
        self._published_count += 1
        if self._published_count % YIELD_EVERY == 0:
            forks.sleep(0)
        return str(cursor)
