"""The statements that read the history again: a page of each channel, and each channel's floor. Only SELECT."""

from __future__ import annotations

from typing import Mapping

from ..contract.constants import LARGE_BODY_BYTES
from ..records import ChannelPage, Range, Record
from .database import Database
from .events import RECORD
from .floors import HistoryFloors

_RANGE = " FROM events WHERE channel = ? AND sequence > ? AND sequence <= ?"
_SOME = "SELECT " + RECORD + _RANGE + " ORDER BY sequence LIMIT ?"

#: From the index alone: it reads no body.
_NEXT = "SELECT min(sequence)" + _RANGE


class Reading:
    """Every method is called with the broker's lock held, within one transaction."""

    def __init__(self, database: Database, floors: HistoryFloors) -> None:
        self._database = database
        self._floors = floors

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        """See ``EventHistory.read_channels``."""
        floors, pages = self._floors.find_floors(ranges), {}
        for channel, (after, upto) in ranges.items():
            begin = max(after, floors[channel])
            if size > 0:
                page = self._read_page(channel, begin, upto, limit, size)
            else:
                page = self._find_next(channel, begin, upto)
            size -= sum(len(record.body) for record in page.records)
            pages[channel] = page._replace(is_missing=floors[channel] > after)
        return pages

    def _read_page(self, channel: str, after: int, upto: int, limit: int, size: int) -> ChannelPage:
        """Return the oldest events of the range, at least one; fetch their rows one by one, up to the size."""
        records: list[Record] = []
        for row in self._database.read(_SOME, (channel, after, upto, limit)):
            records.append(Record(*row))
            size -= len(records[-1].body)
            if size <= 0 or len(records) == limit:
                last, body = records[-1].sequence, records[-1].body
                known = self._find_next(channel, last, upto).upto if len(body) > LARGE_BODY_BYTES else last
                return ChannelPage(records, known, False)
        return ChannelPage(records, upto, False)

    def _find_next(self, channel: str, after: int, upto: int) -> ChannelPage:
        """Return an empty page that ends before the next event."""
        (sequence,) = self._database.read(_NEXT, (channel, after, upto)).fetchone()
        return ChannelPage([], upto if sequence is None else sequence - 1, False)
