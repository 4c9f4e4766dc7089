"""The rosters of the SQLite broker: the table ``roster``. Each function is called within a transaction that writes."""

from __future__ import annotations

from typing import Collection, Mapping

from ..contract.presence import CLAIM_SECONDS, JOIN, LEAVE, MAX_CHANGES, MAX_GRACE, Change, Member, RosterChanges
from .database import Database

_IS_PRESENT = """
SELECT 1 FROM presence JOIN present USING (holder) WHERE channel = ? AND user = ? AND until > ? LIMIT 1
"""


def note_absence(database: Database, now: float, condition: str, values: tuple[str, ...]) -> None:
    """Note that streams are about to be deleted from the table ``presence``: their users may be away from now on.

    :param condition: of the rows that are deleted.
    """
    database.write(
        "UPDATE roster SET due = ? + grace WHERE change <> ? AND (channel, user) IN "
        "(SELECT channel, user FROM presence WHERE " + condition + ")",
        (now, LEAVE, *values),
    )


def update_roster(
    database: Database, owner: str, now: float, present: Mapping[Member, float], announced: Collection[Change]
) -> RosterChanges:
    """See ``Presence.update_roster``.

    :param owner: the process that calls.
    """
    for change in announced:
        _end_change(database, owner, now, change)
    for member, grace in present.items():
        _put_on_roster(database, owner, member, grace)
    _check_absent_members(database, owner, now)
    rows = database.write(
        "SELECT change, channel, user FROM roster WHERE owner = ? AND change <> '' LIMIT ?", (owner, MAX_CHANGES)
    ).fetchall()
    (due,) = database.write("SELECT min(due) FROM roster WHERE due IS NOT NULL").fetchone()
    return RosterChanges([Change(*row) for row in rows], None if due is None else max(0.0, due - now))


def _end_change(database: Database, owner: str, now: float, change: Change) -> None:
    """An announced change is over. A user who is back by now joins again."""
    key = (change.channel, change.user)
    if change.kind == JOIN:
        following, due = "", "due"
    elif database.write(_IS_PRESENT, (*key, now)).fetchone():
        following, due = JOIN, "NULL"
    else:
        database.write(
            "DELETE FROM roster WHERE channel = ? AND user = ? AND change = ? AND owner = ?", (*key, LEAVE, owner)
        )
        return
    database.write(
        "UPDATE roster SET change = ?, due = " + due + " WHERE channel = ? AND user = ? AND change = ? AND owner = ?",
        (following, *key, change.kind, owner),
    )


def _put_on_roster(database: Database, owner: str, member: Member, grace: float) -> None:
    added = database.write("INSERT OR IGNORE INTO roster VALUES (?, ?, ?, NULL, ?, ?)", (*member, grace, JOIN, owner))
    if not added.rowcount:
        database.write(
            "UPDATE roster SET grace = ?, due = NULL WHERE channel = ? AND user = ? AND change <> ?",
            (grace, *member, LEAVE),
        )


def _check_absent_members(database: Database, owner: str, now: float) -> None:
    """Take over the leaves of users who are still away, and the changes that another process did not announce."""
    rows = database.write(
        "SELECT channel, user, change FROM roster WHERE due <= ? OR due > ? LIMIT ?",
        (now, now + 2 * MAX_GRACE, MAX_CHANGES),
    ).fetchall()
    for channel, user, change in rows:
        is_present = database.write(_IS_PRESENT, (channel, user, now)).fetchone()
        if change == "" and is_present:
            database.write("UPDATE roster SET due = NULL WHERE channel = ? AND user = ?", (channel, user))
        else:
            kind = JOIN if change == JOIN and is_present else LEAVE
            database.write(
                "UPDATE roster SET change = ?, owner = ?, due = ? WHERE channel = ? AND user = ?",
                (kind, owner, now + CLAIM_SECONDS, channel, user),
            )
