"""What a test's client has received: events, comments and fields, out of bytes. No I/O, no clock."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ..sse import decode, encode

#: The name of the event that marks the end of what was published; tests do not see it.
MARK = "testing"


class Event(NamedTuple):
    """An event as the client sees it.

    :param event: its name.
    :param data: as text.
    :param id: the cursor; "" before the first one.
    :param channel: where it was published, if clients name that channel; else None.
    """

    event: str
    data: str
    id: str
    channel: str | None

    @property
    def json(self) -> Any:
        """The data, parsed as JSON.

        :raises ValueError: it is not JSON.
        """
        return json.loads(self.data)


class Received:
    """What a client has received: events, and what a browser does not show to the page."""

    def __init__(self) -> None:
        self.hello: Event | None = None
        self.events: list[Event] = []
        self.comments: list[str] = []
        self.marks: set[str] = set()
        self.retry: int | None = None
        self.last_id = ""
        self._decoder = decode.Decoder()

    def feed(self, data: bytes) -> None:
        for frame in self._decoder.feed(data) + self._decoder.take_comments():
            self.comments += frame.comments
            self.retry = self.retry if frame.retry is None else frame.retry
            if frame.event == encode.OWN_PREFIX + MARK:
                self.marks.add(frame.data or "")
            else:
                self._add_frame(frame)

    def _add_frame(self, frame: decode.Frame) -> None:
        self.last_id = self.last_id if frame.id is None else frame.id
        if frame.data is None:
            return
        event = Event(frame.event or "message", frame.data, self.last_id, frame.channel)
        if event.event == encode.OWN_PREFIX + "hello":
            self.hello = event
        else:
            self.events.append(event)
