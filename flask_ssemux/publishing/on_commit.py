"""Events that go out when a database session's transaction is committed, and not at all when it is rolled back.

What waits is kept with the session's transactions, in ``session.info``: a list for each, in order. SQLAlchemy is
not imported here, the session that the application brings is asked. Nothing about streams, and no outbox: between the
database's commit and the broker's there is a moment in which a crash loses what waits.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable, Dict, List, NamedTuple

from ..errors import ApplicationError

log = logging.getLogger("flask_ssemux")

#: Where what waits is kept in ``session.info``.
KEY = "ssemux.on_commit"


class Waiting(NamedTuple):
    """An event that waits: how it is published, and what it is for the log."""

    publish: Callable[[], object]
    channel: str
    event: str | None


def wait_for_commit(session: Any, waiting: Waiting) -> None:
    """Publish it when what the session does now is committed.

    :param session: SQLAlchemy's ``Session``, or what stands for this thread's, as Flask-SQLAlchemy's ``db.session``.
    :raises ApplicationError: it is no session.
    """
    session = _real(session)
    if KEY not in session.info:
        session.info[KEY] = _Queues()
        _follow(session)
    # The event is a part of the transaction: where none has begun yet it begins here, so that a roll-back is seen.
    transaction = _innermost(session)
    if transaction is None:
        transaction = session.begin()
    queues = session.info[KEY]
    if transaction is queues.committed:  # said by another who is told of the commit
        _pass_on(queues, transaction, [waiting])
    else:
        queues.setdefault(transaction, []).append(waiting)


class _Queues(Dict[Any, List[Waiting]]):
    """What waits, by the transaction (SQLAlchemy's object for it, savepoints have their own) in which it was said."""

    #: The one whose commit is being told.
    committed: Any = None


def _real(session: Any) -> Any:
    orm = sys.modules.get("sqlalchemy.orm")  # whoever has a session has imported it
    if orm is not None and isinstance(session, orm.scoped_session):
        session = session()
    if orm is None or not isinstance(session, orm.Session):
        raise ApplicationError(
            "events wait for the commit of an SQLAlchemy session, such as db.session, not of %s; of an AsyncSession "
            "give its sync_session" % type(session).__name__
        )
    if not hasattr(session, "get_nested_transaction"):
        raise ApplicationError("publish_on_commit needs SQLAlchemy 1.4 or newer: pip install 'sqlalchemy>=1.4'")
    return session


def _follow(session: Any) -> None:
    from sqlalchemy import event

    event.listen(session, "after_commit", _committed)
    event.listen(session, "after_transaction_end", _ended)


def _innermost(session: Any) -> Any:
    """The savepoint, or else the transaction, that a commit would end now; None where none has begun.

    Not one that SQLAlchemy 1.4 opens within, for a flush or its like: those end by themselves.
    """
    savepoint = session.get_nested_transaction()
    return session.get_transaction() if savepoint is None else savepoint


def _committed(session: Any) -> None:
    queues = session.info[KEY]
    transaction = queues.committed = _innermost(session)
    _pass_on(queues, transaction, queues.pop(transaction, []))


def _pass_on(queues: _Queues, transaction: Any, waiting: list[Waiting]) -> None:
    """SQLAlchemy tells of savepoints, too: what was said within one is then its parent's to commit."""
    if not transaction.nested:
        _publish(waiting)
        return
    parent = transaction.parent
    while parent.parent is not None and not parent.nested:
        parent = parent.parent
    queues.setdefault(parent, []).extend(waiting)


def _ended(session: Any, transaction: Any) -> None:
    """Rolled back or closed, if anything waits yet."""
    queues = session.info[KEY]
    queues.pop(transaction, None)
    if transaction is queues.committed:
        queues.committed = None


def _publish(waiting: list[Waiting]) -> None:
    """In order. What the broker does not take is lost, and the commit that was is none the worse for it.

    After a failure the rest is not tried: each would wait for the broker in turn, and the commit with it.
    """
    for number, one in enumerate(waiting):
        try:
            one.publish()
        except Exception as error:  # of the broker; nothing may come out of a commit that was
            lost = ", ".join("%s on %r" % (one.event or "message", one.channel) for one in waiting[number:])
            log.error("the transaction is committed, but events were not published: %s (%s)", lost, error)
            return
