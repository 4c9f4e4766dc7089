"""Publishing: what the application, the command line and plain processes share.

From an event to the broker. Nothing about streams; neither Flask nor gevent.
"""

from __future__ import annotations

import os
from typing import Any

from ..brokers import Broker, open_broker
from ..errors import ConfigurationError
from ..options import read_namespace
from ..sse import encode
from ..util import forks
from .on_commit import Waiting, wait_for_commit
from .revocation import RevocationSender

#: Events published in a row before others get a turn: under gevent a loop that publishes
#: would otherwise keep the streams of its own worker from sending any of it.
RUN = 50


class Publishing(RevocationSender):
    """``publish``, ``send_to_user`` and ``broadcast`` onto a broker."""

    max_event_bytes: int
    _published = 0

    def _keeps_latest(self, channel: str) -> bool:
        """Whether all events of this channel are published as ``latest``."""
        return False

    def publish(self, channel: str, data: Any, event: str | None = None, latest: bool = False) -> str:
        """Send an event to everyone who reads a channel, now or when they come back.

        :param channel: its name, 1 to 255 characters.
        :param data: text as it is; anything else as JSON.
        :param event: its name; None is the standard's default, ``message``.
        :param latest: of the channel's events with this name only the newest counts: it takes the place of the one
            before it, in the history and where it waits for a slow client, and new subscribers get it at once.
        :return: its cursor, the ``id`` that clients see.
        :raises InvalidEvent: (or a subclass) names the value and the rule; nothing was stored.
        :raises BrokerUnavailable: the event was not accepted; or, where the connection to the store broke before
            its answer, nobody can tell. It comes once at most.
        """
        body = encode.body(channel, data, event, self.max_event_bytes)
        return self._append(channel, body, self._key(channel, event, latest))

    def send_to_user(self, user_id: Any, data: Any, event: str | None = None, latest: bool = False) -> str:
        """Send an event to all streams of one user. As ``publish``.

        :param user_id: text, int or UUID, as ``identify`` returns it.
        """
        return self.publish(encode.user_channel(user_id), data, event, latest)

    def broadcast(self, data: Any, event: str | None = None, latest: bool = False) -> str:
        """Send an event to everyone. As ``publish``."""
        return self.publish(encode.EVERYONE, data, event, latest)

    def publish_on_commit(
        self, session: Any, channel: str, data: Any, event: str | None = None, latest: bool = False
    ) -> None:
        """Publish when the session's transaction is committed, and not at all when it is rolled back.

        Checked and encoded now, sent after the commit, in the order of the calls. What was said within a savepoint
        is dropped with it. Where the broker is away then, the transaction stays committed, and the log has an error.

        :param session: Flask-SQLAlchemy's ``db.session``, or a ``Session`` of SQLAlchemy 1.4 or newer.
        :raises InvalidEvent: as ``publish``, and now; nothing waits.
        :raises ApplicationError: it is no session.
        """
        body = encode.body(channel, data, event, self.max_event_bytes)
        key = self._key(channel, event, latest)
        at_commit = self._at_commit()
        wait_for_commit(session, Waiting(lambda: at_commit._append(channel, body, key), channel, event))

    def send_to_user_on_commit(
        self, session: Any, user_id: Any, data: Any, event: str | None = None, latest: bool = False
    ) -> None:
        """``send_to_user``, when the session's transaction is committed. As ``publish_on_commit``."""
        self.publish_on_commit(session, encode.user_channel(user_id), data, event, latest)

    def broadcast_on_commit(self, session: Any, data: Any, event: str | None = None, latest: bool = False) -> None:
        """``broadcast``, when the session's transaction is committed. As ``publish_on_commit``."""
        self.publish_on_commit(session, encode.EVERYONE, data, event, latest)

    def cursor(self) -> str:
        """The present cursor: a page that was rendered with it opens its stream from there.

        :raises BrokerUnavailable: nobody can tell.
        """
        return str(self._broker().history.get_newest_cursor())

    def _at_commit(self) -> Publishing:
        """Who publishes then, when there may be no current application any more."""
        return self

    def _key(self, channel: str, event: str | None, latest: bool) -> str | None:
        """What the event supersedes, where only the latest is kept."""
        return (event or "message") if latest or self._keeps_latest(channel) else None

    def _append(self, channel: str, body: bytes, key: str | None) -> str:
        cursor = self._store().history.append_event(channel, body, key)
        self._published += 1
        if self._published % RUN == 0:
            forks.sleep(0)
        return str(cursor)


class Publisher(Publishing):
    """Publishes from a process without Flask or gevent: a job worker, cron, a script::

        with flask_ssemux.Publisher("sqlite:////srv/app/instance/ssemux.sqlite3") as publisher:
            publisher.publish("jobs:42", {"done": 7}, event="progress")

    May be used from several threads, and over a fork, as of a job system's workers: a child opens what it needs anew.

    :param url: the broker's, as ``SSEMUX_BROKER``, with an absolute path; None takes the environment's.
    :param max_event_bytes: as ``SSEMUX_MAX_EVENT_BYTES``.
    :param namespace: as ``SSEMUX_NAMESPACE``; None takes the environment's.
    :raises ConfigurationError: the URL names no broker that other processes read.
    """

    def __init__(self, url: str | None = None, max_event_bytes: int = 256 * 1024, namespace: str | None = None) -> None:
        url = url or os.environ.get("SSEMUX_BROKER")
        if not url:
            raise ConfigurationError(
                "Publisher needs the broker's URL, or SSEMUX_BROKER in the environment; `flask ssemux status` shows it"
            )
        self._url = url
        self._namespace = namespace or read_namespace(os.environ)
        self._opened = open_broker(url, namespace=self._namespace)
        self._is_closed = False
        self._inherited: list[Broker] = []
        self.max_event_bytes = max_event_bytes
        if not self._opened.is_shared:
            raise ConfigurationError("%r stays in one process: nobody would read what is published here" % url)
        forks.follow(self)

    def _broker(self) -> Broker:
        forks.notice_fork()
        return self._opened

    def close(self) -> None:
        self._is_closed = True
        self._opened.close()

    def disown(self) -> None:
        """In a forked child: what the parent opened, and locks that its threads hold, are the parent's."""
        if not self._is_closed:
            self._inherited.append(self._opened)  # letting go of it here would close what the parent uses
            self._opened = open_broker(self._url, namespace=self._namespace)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
