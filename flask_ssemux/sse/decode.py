"""The one decoder of the Server-Sent Events format: bytes in, frames out.

The browser's rules (WHATWG HTML, section 9.2.6), but nothing is dispatched and nothing is thrown away: comments and
frames without data are frames too. For the test client and the doctor. No I/O, no clock.
"""

from __future__ import annotations

from typing import NamedTuple

from .encode import CHANNEL_COMMENT, CHANNEL_FIELD

#: A stream may begin with it; it is not part of the first line.
#: The longest ``retry``. Python refuses to convert numbers of some thousand digits.
MAX_DIGITS = 18

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: How a comment begins that names the event's channel, and its line.
_CHANNEL, _CHANNEL_LINE = CHANNEL_FIELD.decode("ascii"), CHANNEL_COMMENT.decode("ascii")


class Frame(NamedTuple):
    """The lines up to an empty line: an event, or only comments and other fields.

    :param event: the event's name, "" without one.
    :param data: the lines of data, joined; None without such a line. A browser sees no event then.
    :param id: the frame's own ``id``; None without one.
    :param channel: the line that flask_ssemux adds for channels that clients name, a field or a comment.
    :param retry: milliseconds.
    :param comments: the comments, but for the channel.
    """

    event: str = ""
    data: str | None = None
    id: str | None = None
    channel: str | None = None
    retry: int | None = None
    comments: tuple[str, ...] = ()


class Decoder:
    """Decodes a stream that arrives in pieces of any size."""

    def __init__(self) -> None:
        self._is_start = True
        #: The pieces of a line that has not ended yet.
        self._rest: list[bytes] = []
        self._lines: list[str] = []

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that end in these bytes."""
        frames = []
        for line in self._split_lines(data):
            if line:
                self._lines.append(line)
            elif self._lines:
                frames.append(decode_lines(self._lines))
                self._lines = []
        return frames

    def take_comments(self) -> list[Frame]:
        """Return the comments and the ``retry`` that no empty line has ended yet, unless an event has begun.

        They count when their line has ended. At the end of a stream too: the rest is an event that was cut off.
        """
        lines = self._lines
        if not lines or not all(map(_counts_alone, lines)):
            return []
        self._lines = []
        return [decode_lines(lines)]

    def _split_lines(self, data: bytes) -> list[str]:
        self._rest.append(data)
        if not _has_line_end(self._rest[-2:]):
            return []  # a line of many pieces is not searched again for each piece
        text = b"".join(self._rest)
        # A CR at the end may be the first half of a CRLF.
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = [lines.pop() + held]
        if self._is_start and lines:
            self._is_start = False
            lines[0] = lines[0][len(BYTE_ORDER_MARK) :] if lines[0].startswith(BYTE_ORDER_MARK) else lines[0]
        return [line.decode("utf-8", "replace") for line in lines]


def _has_line_end(pieces: list[bytes]) -> bool:
    return any(b"\n" in piece or b"\r" in piece for piece in pieces)


def decode_lines(lines: list[str]) -> Frame:
    """Return the frame of these lines. Of a field that is repeated, all but data and comments, the last one counts."""
    values: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        values.setdefault(name, []).append(value[1:] if value.startswith(" ") else value)
    comments = values.get("", [])
    named = values.get("channel", []) + [text[len(_CHANNEL) :] for text in comments if text.startswith(_CHANNEL)]
    return Frame(
        event=values.get("event", [""])[-1],
        data="\n".join(values["data"]) if "data" in values else None,
        id=next((value for value in reversed(values.get("id", [])) if "\0" not in value), None),
        channel=named[-1] if named else None,
        retry=next((int(value) for value in reversed(values.get("retry", [])) if _is_number(value)), None),
        comments=tuple(text for text in comments if not text.startswith(_CHANNEL)),
    )


def _counts_alone(line: str) -> bool:
    """Return whether a line has a meaning without the lines after it. A channel belongs to the event after it."""
    return line.startswith("retry:") or (line.startswith(":") and not line.startswith(_CHANNEL_LINE))


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS
