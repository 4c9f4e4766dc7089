"""``publish`` and its relatives: what an application and a ``Publisher`` have in common.

An event is checked, encoded and appended to the broker. No streams, no Flask and no gevent.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Sequence

from ..brokers import NewEvent
from ..sse import encode
from ..sse.data import PLAIN, JSONWriter
from ..tracing.tracing import NO_TRACING, Tracing
from ..util import forks
from . import best_effort, several
from .in_transaction import write_events
from .on_commit import WaitingEvents, wait_for_commit
from .revocation import RevocationSender

#: After this many events the publishing greenlet yields. Under gevent a loop that publishes would otherwise keep the
#: streams of its own worker from sending the events.
YIELD_EVERY = 50


class PublisherBase(RevocationSender):
    """Publishes onto the broker that a subclass provides."""

    #: The maximum size of an encoded event, in bytes.
    max_event_bytes: int

    #: What happens if an event is not accepted and the call does not say it: ``raise`` or ``log``.
    _on_error = best_effort.RAISE

    #: Makes the spans of what is published.
    _tracing: Tracing = NO_TRACING

    _published_count = _failed_count = 0

    def _get_json_writer(self) -> JSONWriter:
        """Return how data that is not text becomes JSON."""
        return PLAIN

    def _keeps_latest(self, channel: str) -> bool:
        """Return whether all events of this channel are published with ``latest``."""
        return False

    def publish(
        self,
        channel: str,
        data: Any,
        event: str | None = None,
        *,
        latest: bool = False,
        on_error: str | None = None,
        session: Any = None,
    ) -> str | Any:
        """Send an event to everyone who reads a channel, now or after reconnecting.

        :param channel: its name, 1 to 255 characters.
        :param data: a str is sent unchanged, anything else as JSON: as the application's own provider writes it, or a
            ``Publisher``'s ``dumps``.
        :param event: the event's name; None is the standard's default, ``message``.
        :param latest: only the newest event of this channel and name counts: it replaces the one before it, in the
            history and in the queue of a slow client, and new subscribers get it at once.
        :param on_error: ``raise``; or ``log``, if the event may be lost: what is wrong with it or with the store is
            logged, at most once a minute for each kind, and the call returns None. None is ``SSEMUX_ON_ERROR``.
        :param session: the event becomes a part of its transaction, with a broker on PostgreSQL: see
            docs/on-commit.md. Then the call returns None, and raises whatever ``on_error`` says.
        :return: the event's cursor, which clients see as its ``id``.
        :raises InvalidEvent: (or a subclass) names the value and the rule; nothing is stored.
        :raises BrokerUnavailable: the event was not accepted. If the connection to the store broke before the store
            answered, the event may have been accepted; it is then sent once.
        """
        if session is not None:
            return self._write_to(session, channel, data, event, latest)
        return self._try_to_send(on_error, (event, channel), self._send, channel, data, event, latest)

    def send_to_user(
        self,
        user_id: Any,
        data: Any,
        event: str | None = None,
        *,
        latest: bool = False,
        on_error: str | None = None,
        session: Any = None,
    ) -> str | Any:
        """Send an event to all streams of one user. The other parameters and errors are those of ``publish``.

        :param user_id: a str, int or UUID, as ``identify`` returns it.
        """
        if session is not None:
            return self._write_to(session, encode.name_user_channel(user_id), data, event, latest)
        is_name = user_id is None or encode.is_user_id(user_id)
        names = event, "user:%s" % user_id if is_name else user_id
        return self._try_to_send(on_error, names, self._send_to_user, user_id, data, event, latest)

    def broadcast(
        self,
        data: Any,
        event: str | None = None,
        *,
        latest: bool = False,
        on_error: str | None = None,
        session: Any = None,
    ) -> str | Any:
        """Send an event to everyone. Parameters and errors are those of ``publish``."""
        if session is not None:
            return self._write_to(session, encode.EVERYONE, data, event, latest)
        names = event, encode.EVERYONE
        return self._try_to_send(on_error, names, self._send, encode.EVERYONE, data, event, latest)

    def publish_many(self, events: Iterable[Any], *, on_error: str | None = None) -> list[str] | Any:
        """Send several events in one atomic step: all of them or none, one directly after the other::

            publish_many([("jobs:42", {"done": 9}, "progress"), {"user_id": 7, "data": "ready", "event": "notice"}])

        All of them are checked before the first is stored.

        :param events: at most 500, of 4 MiB together. Each is ``(channel, data)``, ``(channel, data, event)``, or a
            dict with arguments of ``publish``: ``channel`` (or ``user_id``, for the user's own channel), ``data``,
            ``event``, ``latest``.
        :param on_error: as for ``publish``.
        :return: the cursors, in order. None if ``on_error`` is ``log`` and they were not accepted.
        :raises InvalidEvent: (or a subclass) says which event is wrong; nothing is stored.
        :raises BrokerUnavailable: none was accepted; or, as for ``publish``, it is not known whether all were.
        """
        best_effort.check_choice(on_error)
        written = several.WrittenEvents()
        try:
            written.read(events)
            return self._append_all(self._make_events(written))
        except Exception as error:
            self._failed_count += 1
            if (on_error or self._on_error) == best_effort.RAISE:
                raise
            best_effort.log_failure(written.list_names(), error)
            return None

    def publish_on_commit(
        self, session: Any, channel: str, data: Any, event: str | None = None, *, latest: bool = False
    ) -> None:
        """Publish when the session's transaction is committed, and not at all when it is rolled back.

        The event is checked and encoded by this call, and sent after the commit, in the order of the calls. An event
        that was published within a savepoint is dropped if the savepoint is rolled back. If the broker is unavailable
        after the commit, the transaction stays committed and an error is logged. The other parameters are those of
        ``publish``.

        :param session: Flask-SQLAlchemy's ``db.session``, or a ``Session`` of SQLAlchemy 1.4 or newer.
        :raises InvalidEvent: as for ``publish``, raised by this call; the event is not sent.
        :raises ApplicationError: ``session`` is not such a session.
        """
        made, parent = self._make_event(channel, data, event, latest), self._tracing.capture_context()
        wait_for_commit(session, WaitingEvents(lambda: self._append(made, parent), [(event, channel)]))

    def send_to_user_on_commit(
        self, session: Any, user_id: Any, data: Any, event: str | None = None, *, latest: bool = False
    ) -> None:
        """Call ``send_to_user`` when the session's transaction is committed; see ``publish_on_commit``."""
        self.publish_on_commit(session, encode.user_channel(user_id), data, event, latest=latest)

    def broadcast_on_commit(self, session: Any, data: Any, event: str | None = None, *, latest: bool = False) -> None:
        """Call ``broadcast`` when the session's transaction is committed; see ``publish_on_commit``."""
        self.publish_on_commit(session, encode.EVERYONE, data, event, latest=latest)

    def publish_many_on_commit(self, session: Any, events: Iterable[Any]) -> None:
        """Call ``publish_many`` when the session's transaction is committed; see ``publish_on_commit``."""
        written = several.WrittenEvents()
        written.read(events)
        made, parent = self._make_events(written), self._tracing.capture_context()
        if made:
            wait_for_commit(session, WaitingEvents(lambda: self._append_all(made, parent), written.list_names()))

    def cursor(self) -> str:
        """Return the cursor of the newest event. A page that is rendered with it opens its stream from there.

        :raises BrokerUnavailable: the store did not answer.
        """
        return str(self._get_broker().history.get_newest_cursor())

    # -- encoding and sending ----------------------------------------------

    def _try_to_send(self, on_error: str | None, names: tuple[Any, Any], send: Callable[..., Any], *values: Any) -> Any:
        """Return what ``send`` returns. If it raises and the caller publishes best-effort, log that and return None.

        :param names: the name and the channel of the event.
        """
        best_effort.check_choice(on_error)
        try:
            return send(*values)
        except Exception as error:
            self._failed_count += 1
            if (on_error or self._on_error) == best_effort.RAISE:
                raise
            best_effort.log_failure([names], error)
            return None

    def _write_to(self, session: Any, channel: str, data: Any, event: str | None, latest: bool) -> Any:
        """Write an event into the transaction of a session. Its cursor is not known yet: return None."""
        made, broker = [self._make_event(channel, data, event, latest)], self._get_publishing_broker()
        spans = self._tracing.find_spans()
        if spans is None:
            write_events(broker, session, made)
        else:
            spans.publish(made, lambda events: write_events(broker, session, events))
        self._count_published(1)

    def _send(self, channel: str, data: Any, event: str | None, latest: bool, retry: int | None = None) -> str:
        return self._append(self._make_event(channel, data, event, latest, retry))

    def _send_to_user(self, user_id: Any, data: Any, event: str | None, latest: bool) -> str:
        return self._append(self._make_event(encode.name_user_channel(user_id), data, event, latest))

    def _make_event(
        self, channel: str, data: Any, event: str | None, latest: bool, retry: int | None = None
    ) -> NewEvent:
        if isinstance(channel, str) and channel.startswith(encode.RUN_PREFIX):
            encode.refuse_run_channel(channel)
        body = encode.make_body(channel, data, event, self.max_event_bytes, self._get_json_writer(), retry)
        channel = encode.make_plain(channel)
        is_latest = latest or self._keeps_latest(channel)
        return NewEvent(channel, body, encode.make_plain(event or "message") if is_latest else None)

    def _make_events(self, written: several.WrittenEvents) -> list[NewEvent]:
        made = [several.name_place(number, self._make_event, *one) for number, one in enumerate(written)]
        several.check_size(made, self.max_event_bytes)
        return made

    def _append(self, event: NewEvent, parent: Any = None) -> str:
        """Append an event; return its cursor.

        :param parent: the trace in which it was published; None for that of the caller.
        """
        append, spans = self._get_publishing_broker().history.append_event, self._tracing.find_spans()
        if spans is None:
            cursor = append(*event)
        else:
            (cursor,) = spans.publish([event], lambda events: [append(*events[0])], parent)
        self._count_published(1)
        return str(cursor)

    def _append_all(self, events: Sequence[NewEvent], parent: Any = None) -> list[str]:
        if not events:
            return []
        append, spans = self._get_publishing_broker().history.append_events, self._tracing.find_spans()
        cursors = append(events) if spans is None else spans.publish(events, append, parent)
        self._count_published(len(events))
        return [str(cursor) for cursor in cursors]

    def _count_published(self, events: int) -> None:
        before = self._published_count
        self._published_count = before + events
        if before // YIELD_EVERY != self._published_count // YIELD_EVERY:
            forks.sleep(0)
