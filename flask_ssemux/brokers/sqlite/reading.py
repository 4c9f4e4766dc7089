"""The history that is read again: a part of each channel, and where each channel's history begins. Only SELECT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Iterable, Mapping

from ..base import LARGE, Part, Range, Record
from .events import RECORD

if TYPE_CHECKING:
    from .file import File

_RANGE = " FROM events WHERE channel = ? AND sequence > ? AND sequence <= ?"
_SOME = "SELECT " + RECORD + _RANGE + " ORDER BY sequence LIMIT ?"

#: From the index alone: bodies are not touched.
_NEXT = "SELECT min(sequence)" + _RANGE


class Reading:
    """Used with the broker's lock held, within one transaction."""

    def __init__(self, file: File) -> None:
        self._file = file

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        """See ``Broker.read_channels``."""
        floors, parts = self.floors(ranges), {}
        for channel, (after, upto) in ranges.items():
            begin = max(after, floors[channel])
            part = self._read_part(channel, begin, upto, limit, size) if size > 0 else self._find(channel, begin, upto)
            size -= sum(len(record.body) for record in part.records)
            parts[channel] = part._replace(is_missing=floors[channel] > after)
        return parts

    def floors(self, channels: Iterable[str]) -> dict[str, int]:
        """See ``Broker.floors``."""
        return self._file.limits.floors(channels)

    def _read_part(self, channel: str, after: int, upto: int, limit: int, size: int) -> Part:
        """The oldest events of the range, one at least; their rows are fetched one by one, up to the size."""
        records: list[Record] = []
        for row in self._file.read(_SOME, (channel, after, upto, limit)):
            records.append(Record(*row))
            size -= len(records[-1].body)
            if size <= 0 or len(records) == limit:
                last, body = records[-1].sequence, records[-1].body
                known = self._find(channel, last, upto).upto if len(body) > LARGE else last
                return Part(records, known, False)
        return Part(records, upto, False)

    def _find(self, channel: str, after: int, upto: int) -> Part:
        """Where the next event is."""
        (sequence,) = self._file.read(_NEXT, (channel, after, upto)).fetchone()
        return Part([], upto if sequence is None else sequence - 1, False)
