"""Events that are published when a database session's transaction is committed, and dropped when it is rolled back.

Waiting events are kept in ``session.info``: an ordered list for each transaction of the session. SQLAlchemy is not
imported here; everything goes through the session that the application passes. This is not an outbox: a crash between
the database's commit and the broker's append loses the waiting events. No streams, no Flask and no gevent.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable, Dict, List, NamedTuple

from ..errors import ApplicationError
from .best_effort import Names, describe_events

log = logging.getLogger("flask_ssemux")

#: The key of the waiting events in ``session.info``.
KEY = "ssemux.on_commit"


class WaitingEvents(NamedTuple):
    """The events of one call that wait for a commit.

    :param publish: publishes them.
    :param names: the name and the channel of each, for the log.
    """

    publish: Callable[[], object]
    names: Names


def wait_for_commit(session: Any, waiting: WaitingEvents) -> None:
    """Publish the events when the session's present transaction, or savepoint, is committed.

    :param session: SQLAlchemy's ``Session``, or a proxy of this thread's session, such as Flask-SQLAlchemy's
        ``db.session``.
    :raises ApplicationError: it is not a session.
    """
    session = _find_session(session)
    if KEY not in session.info:
        session.info[KEY] = _Queues()
        _listen_to(session)
    # The events are part of the transaction. If none has begun yet, it begins here, so that a rollback is noticed.
    transaction = _find_innermost(session)
    if transaction is None:
        transaction = session.begin()
    queues = session.info[KEY]
    if transaction is queues.committed:  # published by another listener of this commit
        _pass_on(queues, transaction, [waiting])
    else:
        queues.setdefault(transaction, []).append(waiting)


class _Queues(Dict[Any, List[WaitingEvents]]):
    """The waiting events of each transaction. Keys are SQLAlchemy's transaction objects; a savepoint has its own."""

    #: The transaction whose ``after_commit`` listeners are being called.
    committed: Any = None


def _find_session(session: Any) -> Any:
    orm = sys.modules.get("sqlalchemy.orm")  # imported by everyone who has a session
    if orm is not None and isinstance(session, orm.scoped_session):
        session = session()
    if orm is None or not isinstance(session, orm.Session):
        raise ApplicationError(
            "events wait for the commit of an SQLAlchemy session, such as db.session, not of %s; of an AsyncSession "
            "pass its sync_session" % type(session).__name__
        )
    if not hasattr(session, "get_nested_transaction"):
        raise ApplicationError("publish_on_commit needs SQLAlchemy 1.4 or newer: pip install 'sqlalchemy>=1.4'")
    return session


def _listen_to(session: Any) -> None:
    from sqlalchemy import event

    event.listen(session, "after_commit", _on_commit)
    event.listen(session, "after_transaction_end", _on_transaction_end)


def _find_innermost(session: Any) -> Any:
    """Return the savepoint, or else the transaction, that a commit would end now; None if none has begun.

    It is never a transaction that SQLAlchemy 1.4 opens internally, for a flush for example. Those end by themselves.
    """
    savepoint = session.get_nested_transaction()
    return session.get_transaction() if savepoint is None else savepoint


def _on_commit(session: Any) -> None:
    queues = session.info[KEY]
    transaction = queues.committed = _find_innermost(session)
    _pass_on(queues, transaction, queues.pop(transaction, []))


def _pass_on(queues: _Queues, transaction: Any, waiting: list[WaitingEvents]) -> None:
    """Publish events of a committed transaction; those of a savepoint then wait for its parent's commit."""
    if not transaction.nested:
        _publish_all(waiting)
        return
    parent = transaction.parent
    while parent.parent is not None and not parent.nested:
        parent = parent.parent
    queues.setdefault(parent, []).extend(waiting)


def _on_transaction_end(session: Any, transaction: Any) -> None:
    """Drop the events that still wait: the transaction was rolled back or closed."""
    queues = session.info[KEY]
    queues.pop(transaction, None)
    if transaction is queues.committed:
        queues.committed = None


def _publish_all(waiting: list[WaitingEvents]) -> None:
    """Publish the events in order. Events that the broker does not accept are lost; the commit stands.

    After a failure the remaining events are not tried, because each would wait for the broker and delay the commit.
    """
    for number, one in enumerate(waiting):
        try:
            one.publish()
        except Exception as error:  # nothing may be raised after a successful commit
            lost = describe_events([name for left in waiting[number:] for name in left.names])
            log.error("the transaction is committed, but events were not published: %s (%s)", lost, error)
            return
