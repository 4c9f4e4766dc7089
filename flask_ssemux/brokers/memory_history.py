"""The history of the memory broker: what is kept, where its limits are, and what has yet to be delivered.

No lock, no thread, no clock: the broker has them. Every method costs what it finds, not what was ever there.
Python's garbage collector stops the worker's loop and follows named tuples in every full pass, but plain tuples of
numbers and texts only once. So each event is kept as one plain tuple, and as a ``Record`` only while it is delivered.
"""

from __future__ import annotations

import functools
import heapq
from bisect import bisect_left
from collections import deque
from typing import Callable, Iterator, List, Optional, Tuple

from . import base
from .base import History, Part, Record

#: A record as it is kept: what ``Record`` has, and when it came.
Kept = Tuple[int, str, bytes, Optional[str], float]

#: Channels by their oldest event: a heap with one entry for each channel that has events. The sequence of an entry is
#: corrected when the entry gets to the top; until then it may be that of an event which is no longer kept.
Heads = List[Tuple[int, str]]

#: Events delivered at a time.
BATCH = 500

#: Floors kept of channels that have no event left; the lowest half goes at more.
FLOORS = 100_000

#: Bytes that are kept for delivery at least, however small the history.
LIVE_BYTES_LEAST = 1024 * 1024


class MemoryHistory:
    """Events in their order. What is over a limit leaves the history at once, and stays for delivery for a while."""

    def __init__(self) -> None:
        self.sequence = 0
        #: Of the application's channels, and of the extension's own.
        self._heads: tuple[Heads, Heads] = [], []
        self._of: dict[str, list[Kept]] = {}
        self._latest: dict[str, dict[str, Kept]] = {}
        self._floors: dict[str, int] = {}
        #: The floor of every channel that is in neither of the two.
        self._forgotten = 0
        self._size = 0
        #: What may have yet to be delivered, and the newest that is no longer there.
        self._recent: deque[Kept] = deque()
        self._recent_size = self._gone = 0

    def append(self, channel: str, body: bytes, latest: str | None, limits: History, now: float) -> None:
        self.sequence += 1
        kept = self.sequence, channel, body, latest, now
        if channel not in self._of:
            self._add_channel(channel)
        self._of[channel].append(kept)
        self._size += 0 if base.is_own(channel) else len(body)
        if latest is not None:
            self._supersede(kept, latest)
        self.trim(limits, now)
        self._trim_channel(channel, limits)
        self._keep_recent(kept, limits, now)

    def _add_channel(self, channel: str) -> None:
        self._of[channel] = []
        heapq.heappush(self._heads[base.is_own(channel)], (self.sequence, channel))
        if self._forgotten:
            self._floors.setdefault(channel, self._forgotten)

    # -- reading -----------------------------------------------------------

    def floor_of(self, channel: str, limits: History) -> int:
        """The newest event of a channel that is over a limit; 0 where none is. After ``trim``."""
        self._trim_channel(channel, limits)
        return self._floors.get(channel, 0 if channel in self._of else self._forgotten)

    def read_part(self, channel: str, after: int, upto: int, limit: int, size: int, is_first: bool) -> Part:
        """The oldest events of one channel in a range, as ``read_channels`` gives them."""
        kept, records = self._of.get(channel, []), []  # type: list[Kept], list[Record]
        start, end = _index_after(kept, after), _index_after(kept, upto)
        for event in kept[start : min(end, start + limit)]:
            if size <= 0 and (records or not is_first):
                break
            records.append(_as_record(event[:4]))
            size -= len(event[2])
        start += len(records)
        return Part(records, kept[start][0] - 1 if start < end else max(upto, after), False)

    def latest_of(self, channel: str, limits: History) -> list[Record]:
        self._trim_channel(channel, limits)
        return [_as_record(kept[:4]) for kept in self._latest.get(channel, {}).values()]

    def figures(self) -> dict[str, object]:
        return {"events": sum(map(len, self._of.values())), "channels": len(self._of)}

    # -- delivery ----------------------------------------------------------

    def news(self, after: int) -> tuple[list[Record], list[str] | None]:
        """What was appended after a place; and channels of which a part of it is no longer there, None: any may be."""
        found: deque[Record] = deque()
        for kept in reversed(self._recent):
            if kept[0] <= after:
                break
            if not self._is_superseded(kept):
                found.appendleft(_as_record(kept[:4]))
        if self._gone <= after:
            return [found[index] for index in range(min(BATCH, len(found)))], []
        lost = [name for name, floor in self._floors.items() if floor > after] if self._forgotten <= after else None
        return sorted(self._kept_between(after, self._gone)) + list(found), lost

    def _kept_between(self, after: int, upto: int) -> Iterator[Record]:
        for kept in self._of.values():
            for event in kept[_index_after(kept, after) : _index_after(kept, upto)]:
                yield _as_record(event[:4])

    def _is_superseded(self, kept: Kept) -> bool:
        sequence, channel, _, latest, _ = kept
        if latest is None:
            return False
        newest = self._latest.get(channel, {}).get(latest)
        return newest is not None and newest[0] > sequence

    def _keep_recent(self, kept: Kept, limits: History, now: float) -> None:
        recent, most = self._recent, max(LIVE_BYTES_LEAST, min(base.LIVE_BYTES, limits.size))
        recent.append(kept)
        self._recent_size += len(kept[2])
        while len(recent) > 1 and (
            (len(recent) > base.LIVE_EVENTS and now - recent[0][4] >= base.LIVE_SECONDS) or self._recent_size > most
        ):
            self._gone, _, body, _, _ = recent.popleft()
            self._recent_size -= len(body)

    # -- trimming ----------------------------------------------------------

    def trim(self, limits: History, now: float) -> None:
        """By age and by bytes, the oldest first; the newest event stays."""
        heads, own = self._heads
        oldest = self._trim_old(heads, now - limits.seconds)
        self._trim_old(own, now - max(base.OWN_SECONDS, limits.seconds))
        while oldest and self._size > limits.size and (len(heads) > 1 or len(self._of[oldest[1]]) > 1):
            oldest = self._forget_oldest(heads, oldest)
        if len(self._floors) > FLOORS + len(self._of):
            self._forget_floors()

    def _trim_old(self, heads: Heads, before: float) -> Kept | None:
        """By age; return the oldest event that stays."""
        oldest = self._find_oldest(heads)
        while oldest and oldest[4] < before and oldest[0] != self.sequence:
            oldest = self._forget_oldest(heads, oldest)
        return oldest

    def _forget_oldest(self, heads: Heads, oldest: Kept) -> Kept | None:
        """Forget this event of these channels, which is the oldest; return the one that is so now."""
        self._forget(oldest[1])
        return self._find_oldest(heads)

    def _find_oldest(self, heads: Heads) -> Kept | None:
        while heads:
            sequence, channel = heads[0]
            kept = self._of.get(channel)
            if kept is None:
                heapq.heappop(heads)
            elif kept[0][0] == sequence:
                return kept[0]
            else:
                heapq.heapreplace(heads, (kept[0][0], channel))
        return None

    def _trim_channel(self, channel: str, limits: History) -> None:
        most = base.OWN_EVENTS if base.is_own(channel) else limits.events
        for _ in range(len(self._of.get(channel, ())) - most):
            self._forget(channel)

    def _forget(self, channel: str) -> None:
        """The oldest event of a channel leaves the history."""
        kept = self._of[channel][0]
        sequence, _, _, latest, _ = kept
        self._drop(kept, 0)
        self._floors[channel] = sequence
        keys = self._latest.get(channel, {})
        if latest is not None and keys.get(latest) is kept:
            del keys[latest]
            if not keys:
                del self._latest[channel]

    def _supersede(self, kept: Kept, latest: str) -> None:
        channel = kept[1]
        keys: dict[str, Kept] = self._latest.setdefault(channel, {})
        before, keys[latest] = keys.get(latest), kept
        if before is not None:
            self._drop(before, _index_after(self._of[channel], before[0] - 1))

    def _drop(self, kept: Kept, index: int) -> None:
        _, channel, body, _, _ = kept
        events = self._of[channel]
        del events[index]
        if not events:  # only the oldest event of all can be a channel's last, so its entry is at the top of the heap
            del self._of[channel]
        self._size -= 0 if base.is_own(channel) else len(body)

    def _forget_floors(self) -> None:
        empty = sorted((floor, name) for name, floor in self._floors.items() if name not in self._of)
        for floor, name in empty[: len(empty) // 2]:
            self._forgotten = max(self._forgotten, floor)
            del self._floors[name]


def _index_after(kept: list[Kept], sequence: int) -> int:
    return bisect_left(kept, (sequence + 1,))


#: Made of a record's values in one call: half the time of ``Record(*values)``.
_as_record: Callable[[tuple[int, str, bytes, str | None]], Record] = functools.partial(tuple.__new__, Record)
