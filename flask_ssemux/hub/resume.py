"""Where a client resumes from: what it sends in ``Last-Event-ID``, and why its missed events may be lost.

Only decisions. The events themselves are read in ``replay.py``.
"""

from __future__ import annotations

from enum import Enum
from typing import Iterable, NamedTuple

from ..brokers import EventHistory
from ..errors import BrokerBehind
from ..sse.cursor import Cursor

#: Why a client must come back: another worker knows of a new epoch already.
BEHIND = "the history began anew, and this worker has yet to hear of it"


class ResetReason(Enum):
    """Why a client gets ``ssemux.reset``. The values are sent to the client."""

    #: The history no longer reaches back to the client's cursor.
    HISTORY = "history"
    #: A new epoch of the history has begun since.
    EPOCH = "epoch"
    #: The cursor is newer than the newest event.
    FUTURE = "future"
    #: The cursor is not one of ours.
    UNKNOWN = "unknown"


class ResumePoint(NamedTuple):
    """Where a client resumes from. A client that has seen no event yet has neither a cursor nor a reason.

    :param cursor: the last event that the client has seen; None if nothing can be replayed to it.
    :param reset: why nothing can be replayed to a client that has seen events; None if there is no reason.
    """

    cursor: Cursor | None = None
    reset: ResetReason | None = None

    @property
    def is_new(self) -> bool:
        """Whether the client has seen no event yet."""
        return self.cursor is None and self.reset is None

    def get_sequence(self, epoch: str) -> int | None:
        """Return the sequence of the cursor; None if there is no cursor of this epoch."""
        return self.cursor.sequence if self.cursor is not None and self.cursor.epoch == epoch else None


#: A client that has seen no event yet.
NEW_CLIENT = ResumePoint()


def parse_last_ids(last_ids: Iterable[str], epoch: str) -> ResumePoint:
    """Return the newest of the cursors that a client sent.

    Polyfills repeat the page's first cursor in the query and send a later one in the header, or the reverse.

    :param last_ids: as the client sent them. Empty ones do not count.
    :param epoch: of the history. Its cursors win over those of other epochs.
    """
    given = [text for text in last_ids if text]
    if not given:
        return NEW_CLIENT
    cursors = [cursor for cursor in map(Cursor.parse, given) if cursor]
    ours = [cursor for cursor in cursors if cursor.epoch == epoch]
    if ours:
        return ResumePoint(max(ours))
    return ResumePoint(cursors[0]) if cursors else ResumePoint(reset=ResetReason.UNKNOWN)


def check_resume_point(point: ResumePoint, history: EventHistory, epoch: str, position: int) -> ResumePoint:
    """Return the point, or if nothing can be replayed from it, a point that says why.

    :param epoch: of the history, as far as this worker knows.
    :param position: the sequence up to which this worker has delivered events.
    :raises BrokerBehind: a new epoch began, and this worker has not received that yet.
    """
    cursor = point.cursor
    if cursor is None:
        return point
    if cursor.epoch != epoch or cursor.sequence > position:
        # Another worker may have delivered more than this one; only the store knows which cursors exist.
        newest = history.get_newest_cursor()
        if newest.epoch != epoch:
            raise BrokerBehind(BEHIND)
        if cursor.epoch != newest.epoch:
            return ResumePoint(reset=ResetReason.EPOCH)
        if cursor.sequence > newest.sequence:
            return ResumePoint(reset=ResetReason.FUTURE)
    return ResumePoint(reset=ResetReason.HISTORY) if history.has_lost(cursor) else point
