"""An event's position in a broker's order, and its text on the wire: the SSE ``id``, which comes back as
``Last-Event-ID``. What a position means to a history is not known here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: The longest ``Last-Event-ID`` that is parsed, in characters.
CURSOR_LENGTH = 64

_CURSOR = re.compile(r"([0-9a-z]{4,16})-(0|[1-9][0-9]{0,17})")


class Cursor(NamedTuple):
    """An event's position in a broker's order; ``str()`` of it is the SSE ``id``.

    :param epoch: the name of one life of the history, 4 to 16 characters of ``0-9a-z``.
    :param sequence: the number of the event in that life; 0 is before the first event.
    """

    epoch: str
    sequence: int

    def __str__(self) -> str:
        return "%s-%d" % self

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Return the cursor of a ``Last-Event-ID``; None if the text is not one of our cursors."""
        match = _CURSOR.fullmatch(text) if len(text) <= CURSOR_LENGTH else None
        return cls(match.group(1), int(match.group(2))) if match else None
