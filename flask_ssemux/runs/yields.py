"""What a generator may yield, read as events: ``(event, data)``, data, or the text of an old generator.

Old generators yield the format itself, such as ``"event: job\\ndata: {}\\n\\n"``. Its frames are read. Ids, comments
and ``retry`` are dropped, since the events get cursors of their own. No I/O. Whether an event is valid is checked
later.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Optional, Tuple

from ..errors import InvalidEvent
from ..sse.decode import Decoder
from ..util.printable import show_value

#: A frame of an old generator that is longer is given up: the rest of it may never come.
MAX_FRAME_BYTES = 16 * 1024 * 1024

#: What is published: the event's name, None for the default, and its data.
Event = Tuple[Optional[str], Any]

#: A text that consists of whole frames: it begins with a field, and ends in an empty line.
_is_frames = re.compile(r"(?:data|event|id|retry):.*(?:\n\n|\r\n\r\n|\r\r)", re.DOTALL).fullmatch


class TextMeaning(Enum):
    """What a text is that a generator yields."""

    #: Data, as for ``publish``. Bytes are refused.
    DATA = "data"
    #: Frames, if it begins with a field and ends in an empty line, and otherwise data. Bytes are frames.
    EITHER = "either"
    #: A part of the format, which may be cut anywhere.
    FRAMES = "frames"


class YieldReader:
    """Reads what one execution of a generator yields.

    :param meaning: of the texts.
    """

    def __init__(self, meaning: TextMeaning = TextMeaning.EITHER) -> None:
        self._meaning = meaning
        self._decoder = Decoder()
        #: About how many bytes wait for the end of their frame.
        self._waiting = 0

    def read_yield(self, value: Any) -> list[Event]:
        """Return the events of a value that was yielded. ``None`` is no event.

        :raises InvalidEvent: the value is none of the forms.
        """
        if value is None:
            return []
        if isinstance(value, (bytes, bytearray)) and self._meaning is not TextMeaning.DATA:
            return self._read_frames(bytes(value))
        if isinstance(value, str) and self._has_frames(value):
            return self._read_frames(value.encode("utf-8", "replace"))
        if isinstance(value, tuple):
            return [_check_pair(value)]
        return [(None, value)]

    def _has_frames(self, text: str) -> bool:
        if self._meaning is TextMeaning.EITHER:
            return _is_frames(text) is not None
        return self._meaning is TextMeaning.FRAMES

    def _read_frames(self, data: bytes) -> list[Event]:
        frames = self._decoder.feed(data)
        self._waiting = len(data) if frames else self._waiting + len(data)
        if self._waiting > MAX_FRAME_BYTES:
            self._decoder, self._waiting = Decoder(), 0
            raise InvalidEvent(
                "a generator yielded text with no empty line in %d bytes, so no event of it has ended; end each event "
                "with an empty line, or yield pairs of a name and data" % MAX_FRAME_BYTES
            )
        return [(frame.event or None, frame.data) for frame in frames if frame.data is not None]


def _check_pair(value: tuple[Any, ...]) -> Event:
    if len(value) == 2 and (value[0] is None or isinstance(value[0], str)):
        return value[0], value[1]
    raise InvalidEvent(
        "a generator yields data, or a pair of the event's name and data, not the tuple %s; write a list if the tuple "
        "is data" % show_value(value),
        "a generator yields data, or a pair of the event's name and data, not another tuple; write a list if the tuple "
        "is data",
    )
