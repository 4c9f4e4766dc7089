"""Text from others (publishers' data, a foreign server's headers) in a form that is safe in a terminal. No I/O."""

from __future__ import annotations

import re

#: Characters that a terminal obeys: controls, the beginnings of escape sequences, and what changes the direction of
#: text. Tabs and line feeds are allowed.
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def make_printable(text: str) -> str:
    """Return the text with ``\\x1b`` and the like instead of the characters that a terminal would obey."""
    return _OBEYED.sub(lambda found: repr(found.group())[1:-1], text)
