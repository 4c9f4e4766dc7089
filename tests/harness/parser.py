"""An event stream parser, byte by byte, from the text of the standard (HTML 9.2.6, "Interpreting an event stream").

It knows nothing of flask_ssemux and shares no code with it. In addition to what the standard dispatches it keeps what a
browser discards and a test needs: comments, unknown fields, `retry`, and frames that dispatched nothing.
"""

from __future__ import annotations

from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
CR, LF = 0x0D, 0x0A


class Frame(NamedTuple):
    """The lines up to one blank line."""

    event: str
    """The event's name: `message` if the frame has none."""
    data: str
    id: str
    """The last event id as the client knows it after this frame."""
    dispatched: bool
    """Whether a client receives an event (a frame without data is not one)."""
    own_id: str | None
    """The id in this frame itself, if any."""
    retry: int | None
    comments: tuple[str, ...]
    fields: dict[str, str]
    """Fields that the standard does not define, such as `channel`."""
    at: float
    """The time that was given to `feed` with the frame's last byte."""


class Ending(NamedTuple):
    """What a `retry` line said that no blank line followed, as at the end of a stream."""

    retry: int | None
    comments: tuple[str, ...]
    """The comments after it."""


class Parser:
    """Feed it bytes in pieces of any size; `frames` grows."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.comments: list[str] = []
        self.last_event_id = ""
        self.retry: int | None = None
        self._line = bytearray()
        self._first_line = True
        self._after_cr = False
        self._id_buffer = ""
        self._start_frame()

    @property
    def events(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.dispatched]

    @property
    def ending(self) -> Ending:
        """What the lines after the last frame say."""
        return Ending(self._retry, tuple(self._comments[self._before_retry :]))

    def feed(self, data: bytes, at: float = 0.0) -> None:
        for byte in data:
            self._take(byte, at)

    def _take(self, byte: int, at: float) -> None:
        after_cr, self._after_cr = self._after_cr, byte == CR
        if byte == LF and after_cr:
            return  # the second half of a CRLF
        if byte in (CR, LF):
            self._end_line(at)
        else:
            self._line.append(byte)

    def _end_line(self, at: float) -> None:
        raw = bytes(self._line)
        self._line.clear()
        if self._first_line and raw.startswith(BOM):
            raw = raw[len(BOM) :]
        self._first_line = False
        line = raw.decode("utf-8", "replace")
        if not line:
            self._end_frame(at)
        else:
            self._untouched = False
            self._process(line)

    def _process(self, line: str) -> None:
        name, colon, value = line.partition(":")
        if value.startswith(" "):
            value = value[1:]
        if colon and not name:
            self._comments.append(line[1:])
            self.comments.append(line[1:])
        else:
            self._field(name, value)

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._event = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id":
            if "\0" not in value:
                self._id_buffer = self._own_id = value
        elif name == "retry":
            if value and all(digit in "0123456789" for digit in value):
                self._retry = self.retry = int(value)
                self._before_retry = len(self._comments)
        else:
            self._fields[name] = value

    def _end_frame(self, at: float) -> None:
        if self._untouched:
            return  # one more blank line
        self.last_event_id = self._id_buffer
        dispatched = self._data != ""
        data = self._data[:-1]
        self.frames.append(
            Frame(
                self._event or "message",
                data,
                self.last_event_id,
                dispatched,
                self._own_id,
                self._retry,
                tuple(self._comments),
                self._fields,
                at,
            )
        )
        self._start_frame()

    def _start_frame(self) -> None:
        self._event = self._data = ""
        self._own_id: str | None = None
        self._retry: int | None = None
        self._comments: list[str] = []
        self._before_retry = 0
        self._fields: dict[str, str] = {}
        self._untouched = True


def parse(data: bytes) -> Parser:
    """Return the parser after a whole stream."""
    parser = Parser()
    parser.feed(data)
    return parser
