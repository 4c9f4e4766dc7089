"""Frames out of a stream's bytes, as the standard says (WHATWG HTML 9.2.5), each with the time it came. No I/O."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

#: Frames that are kept, and characters of a frame's data: a stream may be fast.
MOST = 20000
DATA = 2000


class Frame(NamedTuple):
    """A block of lines that an empty one ends: an event, or comments and fields alone.

    :param at: when its last byte came.
    :param data: its beginning.
    :param event: its name, "message" where it has data and no name, "" where it has neither.
    :param comment: its comments, joined.
    """

    at: float
    event: str
    data: str
    id: str
    comment: str

    def json(self) -> dict[str, Any]:
        """Its data, if that is an object of JSON, else {}."""
        try:
            found = json.loads(self.data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Frames:
    """Takes bytes as they come; ``all`` is what they made so far."""

    def __init__(self) -> None:
        self.all: list[Frame] = []
        self._rest = b""
        self._lines: list[str] = []

    def feed(self, data: bytes, at: float) -> None:
        # A CR at the end may be half of a CRLF.
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
