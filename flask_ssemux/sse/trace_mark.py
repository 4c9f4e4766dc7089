"""The trace of an event, as it stands in the event's stored body: a comment, which is the body's last line.

Its text is a ``traceparent`` of W3C Trace Context (https://www.w3.org/TR/trace-context/#traceparent-header). It is
taken out before an event is sent. A worker of an earlier version, which does not know it, sends a comment that no
client shows. Data cannot forge it: each line of data begins with ``data:``. What a trace is, is not known here.
"""

from __future__ import annotations

#: What precedes the text: the end of the line before it, and how the comment begins.
MARK = b"\n: traceparent: "

#: The length of a ``traceparent`` of version 00, the only one that is written.
LENGTH = 55

#: Where the mark of a marked body begins and ends, counted from the body's end, and where the comment begins.
BEGIN, END = -(len(MARK) + LENGTH + 2), -(LENGTH + 2)
COMMENT = BEGIN + 1


def add_traceparent(body: bytes, traceparent: str) -> bytes:
    """Return a body with its trace.

    :param traceparent: 55 characters, of ASCII.
    """
    return b"%s%s%s\n\n" % (memoryview(body)[:-2], MARK, traceparent.encode("ascii"))


def has_traceparent(body: bytes) -> bool:
    """Return whether a stored body has a trace."""
    return body[BEGIN:END] == MARK


def find_traceparent(body: bytes) -> str:
    """Return the ``traceparent`` of a stored body that has one."""
    return bytes(body[END:-2]).decode("ascii", "replace")


def remove_traceparent(body: bytes) -> bytes:
    """Return a stored body as clients may see it: without its trace, if it has one."""
    return body[:COMMENT] + b"\n" if body[BEGIN:END] == MARK else body
