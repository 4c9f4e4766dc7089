"""Text from others (publishers' data, a foreign server's headers) in a form that is safe in a terminal, and values in a
form that is short enough for an error message. No I/O."""

from __future__ import annotations

import re

#: Characters that a terminal obeys: controls, the beginnings of escape sequences, and what changes the direction of
#: text. Tabs and line feeds are allowed.
_OBEYED = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def make_printable(text: str) -> str:
    """Return the text with ``\\x1b`` and the like instead of the characters that a terminal would obey."""
    return _OBEYED.sub(lambda found: repr(found.group())[1:-1], text)


def show_name(value: object) -> str:
    """Return a value that should be a name, for a log line: only its type, if it is no text and may be data."""
    return show_value(value) if value is None or isinstance(value, str) else "a value of type %s" % type(value).__name__


def show_value(value: object) -> str:
    """Return a value for an error message, shortened, because such messages are logged."""
    try:
        shown = repr(value)
    except Exception as error:  # it is nested too deeply, or its own __repr__ fails
        shown = "<%s: %s>" % (type(value).__name__, type(error).__name__)
    return shown if len(shown) <= 80 else shown[:77] + "..."
