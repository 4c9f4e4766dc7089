"""Events that are part of the application's own database transaction: rows of a table of the broker's.

They are exactly as durable as the transaction's other rows, and nothing if it is rolled back. After the commit a
process of the application gives them their place in the order. SQLAlchemy and psycopg are not imported here:
everything goes through the session or connection that the application passes. No streams, no Flask and no gevent.
"""

from __future__ import annotations

import sys
from typing import Any, Sequence

from ..brokers import Broker, NewEvent
from ..errors import ApplicationError
from ..util.background import run_in_background

#: The key in ``session.info``: which brokers have events in the session's transaction.
KEY = "ssemux.in_transaction"

_INSERT = "INSERT INTO %s (channel, latest, body) VALUES (%s)"


def write_events(broker: Broker, session: Any, events: Sequence[NewEvent]) -> None:
    """Write events into the transaction of a session or connection.

    :param session: a ``Session``, ``scoped_session`` or ``Connection`` of SQLAlchemy 1.4 or newer, or a connection of
        psycopg 2 or 3.
    :raises ApplicationError: it is none of these, or the broker keeps its events elsewhere.
    :raises BrokerUnavailable: the broker's tables could not be looked at.
    """
    table = broker.history.find_outbox()
    if table is None:
        raise ApplicationError(
            "session= needs a broker in the application's own database: SSEMUX_BROKER=postgresql://…; with any other "
            "broker use publish_on_commit (docs/on-commit.md)"
        )
    if _is_driver_connection(session):
        _insert_by_driver(session, table, events)
    else:
        _insert_by_sqlalchemy(_find_executor(session), table, events, broker)


def _is_driver_connection(session: Any) -> bool:
    return type(session).__module__.partition(".")[0] in ("psycopg", "psycopg2") and hasattr(session, "cursor")


def _insert_by_driver(connection: Any, table: str, events: Sequence[NewEvent]) -> None:
    statement = _INSERT % (table.replace("%", "%%"), "%s, %s, %s")
    with connection.cursor() as cursor:
        for channel, body, latest in events:
            cursor.execute(statement, (channel, latest, body))


def _find_executor(session: Any) -> Any:
    """Return the session behind a proxy, or the connection.

    :raises ApplicationError: it is neither, or of another database.
    """
    orm = sys.modules.get("sqlalchemy.orm")
    if orm is not None and isinstance(session, orm.scoped_session):
        session = session()
    engine = sys.modules.get("sqlalchemy.engine")
    kinds = tuple(kind for kind in (getattr(orm, "Session", None), getattr(engine, "Connection", None)) if kind)
    if not isinstance(session, kinds):
        raise ApplicationError(
            "session= is a session or connection of SQLAlchemy, such as db.session, or a connection of psycopg 2 or 3, "
            "not %s; of an AsyncSession pass its sync_session" % type(session).__name__
        )
    bind = session.get_bind() if hasattr(session, "get_bind") else session
    if bind.dialect.name != "postgresql":
        raise ApplicationError("session= is of a %s database, and the broker's is PostgreSQL" % bind.dialect.name)
    return session


def _insert_by_sqlalchemy(session: Any, table: str, events: Sequence[NewEvent], broker: Broker) -> None:
    from sqlalchemy import text

    statement = text(_INSERT % (table.replace(":", "\\:"), ":channel, :latest, :body"))
    for event in events:
        session.execute(statement, {"channel": event.channel, "latest": event.latest_key, "body": event.body})
    if hasattr(session, "info") and hasattr(session, "get_bind"):
        _place_after_commit(session, broker)


def _place_after_commit(session: Any, broker: Broker) -> None:
    """Have the events placed as soon as the session's transaction is committed, and not only when somebody looks."""
    from sqlalchemy import event

    if KEY not in session.info:
        session.info[KEY] = set()
        event.listen(session, "after_commit", _on_commit)
    session.info[KEY].add(broker)


def _on_commit(session: Any) -> None:
    brokers, session.info[KEY] = session.info[KEY], set()
    for broker in brokers:
        run_in_background("ssemux-place", broker.history.place_events)
