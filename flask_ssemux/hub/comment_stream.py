"""A stream whose frames name their channels in comments (``SSEMUX_CHANNEL_FORM``), and not in fields.

Frames are made once, with fields, for all streams. What such a stream sends is converted here; a frame that several of
them get is converted once. Other streams do not come here.
"""

from __future__ import annotations

from typing import Iterator

from ..sse.encode import LatestFrame, move_channels_to_comments
from .stream import Stream

#: The frame that was converted last, and what it became. Replaced as a whole, since threads may share it.
_last: tuple[bytes, bytes] = (b"", b"")


class CommentStream(Stream):
    """A stream for parsers that report an unknown field as an error."""

    __slots__ = ()

    def offer(self, frame: bytes, sequence: int | None = None) -> None:
        super().offer(_convert_frame(frame), sequence)


def convert_pages(pages: Iterator[bytes]) -> Iterator[bytes]:
    """Return what such a stream sends before its first live event."""
    return map(move_channels_to_comments, pages)


def _convert_frame(frame: bytes) -> bytes:
    global _last
    before, made = _last
    if before is not frame:
        made = move_channels_to_comments(frame)
        if isinstance(frame, LatestFrame):
            made = LatestFrame.of(made, frame.key)
        _last = frame, made
    return made
