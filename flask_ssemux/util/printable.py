"""What others wrote, as a terminal may be given it: publishers' data, a foreign server's headers. No I/O."""

from __future__ import annotations

import re

#: What a terminal obeys: controls, escape sequences' beginnings, and what turns the direction of text around. Not
#: tabs and line feeds.
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with ``\\x1b`` and the like for what a terminal would obey."""
    return _OBEYED.sub(lambda found: repr(found.group())[1:-1], text)
