"""What flask_ssemux may add to the body of a wrapped stream: by its type and its request, and by how the body begins.

Only an event stream (``text/event-stream``) has a place for what is not the application's: comments and ``retry``.
No stream is changed here.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Mapping

from flask import Response

from .responses import CONTENT_TYPE

_LINE_END = re.compile(rb"\r\n|\r|\n")

#: The names of the fields of an event (WHATWG HTML 9.2.6).
_FIELDS = (b"data", b"event", b"id", b"retry")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Additions(Enum):
    """What the body of a wrapped stream may contain that its generator did not yield."""

    #: The opening frames at once, and heartbeats: the client asks for an event stream by GET, so it reads comments.
    OPENING_AT_ONCE = 1
    #: The opening frames with the first event, and heartbeats: a GET that accepts anything. Its client may be a page
    #: that shows whatever it reads.
    OPENING_WITH_EVENT = 2
    #: Heartbeats after the generator's first event: another method. Its client may repeat a request that costs money.
    HEARTBEATS = 3
    #: Nothing: a body of another type, or a compressed body.
    NOTHING = 4


def choose_additions(response: Response, environ: Mapping[str, Any]) -> Additions:
    """Return what may be added to the body of a view's response."""
    if not is_events_type(response) or is_encoded(response):
        return Additions.NOTHING
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return Additions.HEARTBEATS
    asks = CONTENT_TYPE in environ.get("HTTP_ACCEPT", "").lower()
    return Additions.OPENING_AT_ONCE if asks else Additions.OPENING_WITH_EVENT


def is_events_type(response: Response) -> bool:
    """Return whether the response says that it is an event stream, in whatever case and with whatever parameters."""
    return (response.headers.get("Content-Type") or "").partition(";")[0].strip().lower() == CONTENT_TYPE


def is_encoded(response: Response) -> bool:
    """Return whether the application has compressed the body itself."""
    return response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")


def remove_mark(item: bytes) -> bytes:
    """Return an item without its byte order mark, which clients ignore only at the beginning of a body."""
    return item[len(_BYTE_ORDER_MARK) :] if item.startswith(_BYTE_ORDER_MARK) else item


class BodyBeginning:
    """The beginning of a body, as far as it is needed to see whether the body is an event stream."""

    def __init__(self) -> None:
        self._text = b""

    def add_item(self, item: bytes) -> bool | None:
        """Return whether a body that begins like this is an event stream; None if more of it is needed.

        The first line that is not empty decides, or any other line that is already there.
        """
        text = self._text + item
        *lines, rest = _LINE_END.split(text[3:] if text.startswith(_BYTE_ORDER_MARK) else text)
        if any(map(_is_field, lines)):
            return True
        if any(lines):
            return False
        self._text = rest
        return _begins_field(rest)


def _is_field(line: bytes) -> bool:
    """Return whether a whole line is a comment, or a field that the standard knows."""
    return line.startswith(b":") or line.partition(b":")[0] in _FIELDS


def _begins_field(part: bytes) -> bool | None:
    """Return whether the beginning of a line is the beginning of such a line; None if more of it is needed."""
    if b":" in part:
        return _is_field(part)
    return None if any(field.startswith(part) for field in _FIELDS) else False
