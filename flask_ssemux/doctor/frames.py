"""Parses a stream's bytes into frames (WHATWG HTML, section 9.2.5), each with the time of its arrival. No I/O."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

#: The frames that are kept at most, and the characters of each frame's data. They bound a fast stream.
MOST = 20000
DATA = 2000


class Frame(NamedTuple):
    """Lines up to an empty line: an event, or only comments and other fields.

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
    """Parses bytes as they arrive; ``all`` has the frames so far."""

    def __init__(self) -> None:
        self.all: list[Frame] = []
        self._rest = b""
        self._lines: list[str] = []

    def feed(self, data: bytes, at: float) -> None:
        # A CR at the end may be the first half of a CRLF.
        text = self._rest + data
        held = b"\r" if text.endswith(b"\r") else b""
        lines = text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        for line in lines:
            if line:
                self._lines.append(line.decode("utf-8", "replace"))
            elif self._lines:
                if len(self.all) < MOST:
                    self.all.append(_frame(self._lines, at))
                self._lines = []


def _frame(lines: list[str], at: float) -> Frame:
    found: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        found.setdefault(name, []).append(value[1:] if value.startswith(" ") else value)
    data = found.get("data")
    event = found.get("event", [""])[-1] or ("message" if data else "")
    return Frame(at, event, "\n".join(data or ())[:DATA], found.get("id", [""])[-1], "\n".join(found.get("", ())))
