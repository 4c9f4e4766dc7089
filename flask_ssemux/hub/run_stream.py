"""A stream of a run: it ends after the run's last event. For clients that know no comments, it can be plain.

A plain stream has the run's events and nothing else: no ``retry``, no hello, no heartbeats. Only if events were lost,
it says so, by ``ssemux.reset``. What a run is, and who may read it, is not known here. Other streams do not come here.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

from ..sse.cursor import Cursor
from ..sse.encode import OPENED, RUN_END
from .stream import Stream

#: Why the stream of a run ends with the run.
ENDED = "the run has ended"

_HELLO, _RESET = b"event: ssemux.hello\n", b"event: ssemux.reset\n"


class RunReading(NamedTuple):
    """How one client reads a run.

    :param begin: the cursor before the run's first event.
    :param is_plain: whether the client gets the run's events and nothing else.
    :param end: the frame of the run's end if the history no longer has it; b"" if it comes as an event.
    """

    begin: Cursor
    is_plain: bool = False
    end: bytes = b""

    @property
    def stream_class(self) -> type[RunStream]:
        return PlainRunStream if self.is_plain else RunStream


class RunStream(Stream):
    """A stream that ends after the last event of its run."""

    __slots__ = ()

    def offer(self, frame: bytes, sequence: int | None = None) -> None:
        super().offer(frame, sequence)
        if frame.startswith(RUN_END):
            self.close(ENDED)


class PlainRunStream(RunStream):
    """A stream of the run's events and nothing else."""

    __slots__ = ()

    def offer(self, frame: bytes, sequence: int | None = None) -> None:
        if sequence is not None or frame.startswith((RUN_END, _RESET)):
            super().offer(frame, sequence)

    def close(self, reason: str, last: bytes = b"") -> None:
        super().close(reason)

    def _send_heartbeat(self, now: float) -> None:
        self.sent_at = now  # otherwise the timer would call this stream at each of its turns


def convert_pages(stream: RunStream, pages: Iterator[bytes], reading: RunReading) -> Iterator[bytes]:
    """Return what such a stream sends before its first live event. The stream ends if the run's end is in it."""
    has_end = False
    for page in pages:
        has_end = has_end or _has_end(page)
        yield _strip_page(page) if reading.is_plain else page
    if reading.end and not has_end:
        yield reading.end
    if reading.end or has_end:
        stream.close(ENDED)


def _has_end(page: bytes) -> bool:
    """Return whether a frame of a page is the end of a run. No line of an event's data begins like it."""
    return page.startswith(RUN_END) or b"\n" + RUN_END in page


def _strip_page(page: bytes) -> bytes:
    """Return a page without what only clients of this package expect. A page has whole frames."""
    if page.startswith(b":"):  # a heartbeat
        return b""
    if not page.startswith(b"retry:"):
        return page
    before, _, rest = page.partition(_HELLO)
    after = rest.partition(b"\n\n")[2]
    reset = before[before.index(_RESET) :] if _RESET in before else b""
    return reset + (b"" if after == OPENED else after)
