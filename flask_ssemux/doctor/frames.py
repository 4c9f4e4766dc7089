"""The frames of a stream that the doctor reads, each with the time of its arrival. No I/O."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ..sse import decode

#: The frames that are kept at most, and the characters of each frame's data. They bound a fast stream.
MOST = 20000
DATA = 2000


class Frame(NamedTuple):
    """A frame as the doctor looks at it.

    :param at: when the last byte arrived.
    :param data: the beginning of the data.
    :param event: the event's name: "message" if there is data without a name, "" if there is neither.
    :param comment: the comments, joined.
    """

    at: float
    event: str
    data: str
    id: str
    comment: str

    def json(self) -> dict[str, Any]:
        """Return the data if it is a JSON object, else {}."""
        try:
            found = json.loads(self.data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Frames:
    """Decodes bytes as they arrive; ``all`` has the frames so far."""

    def __init__(self) -> None:
        self.all: list[Frame] = []
        self._decoder = decode.Decoder()

    def feed(self, data: bytes, at: float) -> None:
        for frame in self._decoder.feed(data) + self._decoder.take_comments():
            if len(self.all) < MOST:
                self.all.append(_note_arrival(frame, at))


def _note_arrival(frame: decode.Frame, at: float) -> Frame:
    event = frame.event or ("message" if frame.data is not None else "")
    return Frame(at, event, (frame.data or "")[:DATA], frame.id or "", "\n".join(frame.comments))
