"""The events that the memory broker keeps: the history, the floors of its channels, and what is kept for delivery.

No lock, no thread, no clock: the broker has them. The cost of every method follows what it returns, not what was
appended. Python's garbage collector stops the worker's loop and follows named tuples in every full pass, but plain
tuples of numbers and texts only once. So each event is kept as one plain tuple, and as a ``Record`` only while it is
delivered.
"""

from __future__ import annotations

import functools
import heapq
from bisect import bisect_left
from collections import deque
from typing import Callable, Iterable, Iterator, List, Optional, Tuple

from ..contract import constants
from ..records import ChannelPage, HistoryLimits, Record, is_own_channel

#: A record as it is kept: what ``Record`` has, and when it came.
Kept = Tuple[int, str, bytes, Optional[str], float]

#: Channels by their oldest event: a heap with one entry for each channel that has events. The sequence of an entry is
#: corrected when the entry gets to the top; until then it may be that of an event which is no longer kept.
Heads = List[Tuple[int, str]]

#: Events delivered at a time.
BATCH = 500

#: Floors that are kept of channels without events; if there are more, the lower half is deleted.
FLOORS = 100_000

#: Bytes that are kept for delivery at least, however small the limit of the history is.
LIVE_BYTES_LEAST = 1024 * 1024


class KeptEvents:
    """Events in their order. An event over a limit leaves the history at once, and is kept for delivery for a while."""

    def __init__(self) -> None:
        self.sequence = 0
        #: Of the application's channels, and of the extension's own.
        self._heads: tuple[Heads, Heads] = [], []
        self._by_channel: dict[str, list[Kept]] = {}
        self._latest: dict[str, dict[str, Kept]] = {}
        self._floors: dict[str, int] = {}
        #: The floor of every channel that is in neither of the two.
        self._forgotten = 0
        self._size = 0
        #: What is kept for delivery, and the newest sequence that no longer is.
        self._recent: deque[Kept] = deque()
        self._recent_size = self._gone = 0

    def append_event(self, channel: str, body: bytes, latest: str | None, limits: HistoryLimits, now: float) -> None:
        self.sequence += 1
        kept = self.sequence, channel, body, latest, now
        if channel not in self._by_channel:
            self._add_channel(channel)
        self._by_channel[channel].append(kept)
        self._size += 0 if is_own_channel(channel) else len(body)
        if latest is not None:
            self._replace_latest(kept, latest)
        self.trim_events(limits, now)
        self._trim_channel(channel, limits)
        self._keep_recent(kept, limits, now)

    def _add_channel(self, channel: str) -> None:
        self._by_channel[channel] = []
        heapq.heappush(self._heads[is_own_channel(channel)], (self.sequence, channel))
        if self._forgotten:
            self._floors.setdefault(channel, self._forgotten)

    # -- reading -----------------------------------------------------------

    def find_floor(self, channel: str, limits: HistoryLimits) -> int:
        """Return the newest event of a channel that is over a limit; 0 if none is. Called after ``trim_events``."""
        self._trim_channel(channel, limits)
        return self._floors.get(channel, 0 if channel in self._by_channel else self._forgotten)

    def read_channel(self, channel: str, after: int, upto: int, limit: int, size: int, is_first: bool) -> ChannelPage:
        """Return the oldest events of one channel in a range: see ``EventHistory.read_channels``."""
        kept, records = self._by_channel.get(channel, []), []  # type: list[Kept], list[Record]
        start, end = _index_after(kept, after), _index_after(kept, upto)
        for event in kept[start : min(end, start + limit)]:
            if size <= 0 and (records or not is_first):
                break
            records.append(_as_record(event[:4]))
            size -= len(event[2])
        start += len(records)
        return ChannelPage(records, kept[start][0] - 1 if start < end else max(upto, after), False)

    def list_latest(self, channels: Iterable[str], limits: HistoryLimits, now: float) -> list[Record]:
        """Return the latest events of these channels, in their order."""
        if not self._latest:
            return []
        self.trim_events(limits, now)
        found: list[Record] = []
        for channel in set(channels):
            self._trim_channel(channel, limits)
            found += [_as_record(kept[:4]) for kept in self._latest.get(channel, {}).values()]
        return sorted(found)

    def count_kept(self) -> dict[str, object]:
        return {"events": sum(map(len, self._by_channel.values())), "channels": len(self._by_channel)}

    # -- delivery ----------------------------------------------------------

    def read_new_events(self, after: int) -> tuple[list[Record], list[str] | None]:
        """Return the events after a sequence, and the channels of which some of them are no longer kept.

        The second value is None if events of any channel may have been deleted.
        """
        found: deque[Record] = deque()
        for kept in reversed(self._recent):
            if kept[0] <= after:
                break
            if not self._is_replaced(kept):
                found.appendleft(_as_record(kept[:4]))
        if self._gone <= after:
            return [found[index] for index in range(min(BATCH, len(found)))], []
        lost = [name for name, floor in self._floors.items() if floor > after] if self._forgotten <= after else None
        return sorted(self._kept_between(after, self._gone)) + list(found), lost

    def _kept_between(self, after: int, upto: int) -> Iterator[Record]:
        for kept in self._by_channel.values():
            for event in kept[_index_after(kept, after) : _index_after(kept, upto)]:
                yield _as_record(event[:4])

    def _is_replaced(self, kept: Kept) -> bool:
        sequence, channel, _, latest, _ = kept
        if latest is None:
            return False
        newest = self._latest.get(channel, {}).get(latest)
        return newest is not None and newest[0] > sequence

    def _keep_recent(self, kept: Kept, limits: HistoryLimits, now: float) -> None:
        recent, most = self._recent, max(LIVE_BYTES_LEAST, min(constants.LIVE_BYTES, limits.size))
        recent.append(kept)
        self._recent_size += len(kept[2])
        while len(recent) > 1 and (
            (len(recent) > constants.LIVE_EVENTS and now - recent[0][4] >= constants.LIVE_SECONDS)
            or self._recent_size > most
        ):
            self._gone, _, body, _, _ = recent.popleft()
            self._recent_size -= len(body)

    # -- trimming ----------------------------------------------------------

    def trim_events(self, limits: HistoryLimits, now: float) -> None:
        """Trim by age and by bytes, the oldest events first; the newest event stays."""
        heads, own = self._heads
        oldest = self._trim_old(heads, now - limits.seconds)
        self._trim_old(own, now - max(constants.OWN_SECONDS, limits.seconds))
        while oldest and self._size > limits.size and (len(heads) > 1 or len(self._by_channel[oldest[1]]) > 1):
            oldest = self._forget_oldest(heads, oldest)
        if len(self._floors) > FLOORS + len(self._by_channel):
            self._forget_floors()

    def _trim_old(self, heads: Heads, before: float) -> Kept | None:
        """Trim by age; return the oldest event that stays."""
        oldest = self._find_oldest(heads)
        while oldest and oldest[4] < before and oldest[0] != self.sequence:
            oldest = self._forget_oldest(heads, oldest)
        return oldest

    def _forget_oldest(self, heads: Heads, oldest: Kept) -> Kept | None:
        """Forget the oldest event of these channels; return the one that is the oldest then."""
        self._forget(oldest[1])
        return self._find_oldest(heads)

    def _find_oldest(self, heads: Heads) -> Kept | None:
        while heads:
            sequence, channel = heads[0]
            kept = self._by_channel.get(channel)
            if kept is None:
                heapq.heappop(heads)
            elif kept[0][0] == sequence:
                return kept[0]
            else:
                heapq.heapreplace(heads, (kept[0][0], channel))
        return None

    def _trim_channel(self, channel: str, limits: HistoryLimits) -> None:
        most = constants.OWN_EVENTS if is_own_channel(channel) else limits.events
        for _ in range(len(self._by_channel.get(channel, ())) - most):
            self._forget(channel)

    def _forget(self, channel: str) -> None:
        """Remove the oldest event of a channel from the history."""
        kept = self._by_channel[channel][0]
        sequence, _, _, latest, _ = kept
        self._drop(kept, 0)
        self._floors[channel] = sequence
        keys = self._latest.get(channel, {})
        if latest is not None and keys.get(latest) is kept:
            del keys[latest]
            if not keys:
                del self._latest[channel]

    def _replace_latest(self, kept: Kept, latest: str) -> None:
        channel = kept[1]
        keys: dict[str, Kept] = self._latest.setdefault(channel, {})
        before, keys[latest] = keys.get(latest), kept
        if before is not None:
            self._drop(before, _index_after(self._by_channel[channel], before[0] - 1))

    def _drop(self, kept: Kept, index: int) -> None:
        _, channel, body, _, _ = kept
        events = self._by_channel[channel]
        del events[index]
        if not events:  # only the oldest event of all can be a channel's last, so its entry is at the top of the heap
            del self._by_channel[channel]
        self._size -= 0 if is_own_channel(channel) else len(body)

    def _forget_floors(self) -> None:
        empty = sorted((floor, name) for name, floor in self._floors.items() if name not in self._by_channel)
        for floor, name in empty[: len(empty) // 2]:
            self._forgotten = max(self._forgotten, floor)
            del self._floors[name]


def _index_after(kept: list[Kept], sequence: int) -> int:
    return bisect_left(kept, (sequence + 1,))


#: Makes a record of its values in one call: half the time of ``Record(*values)``.
_as_record: Callable[[tuple[int, str, bytes, str | None]], Record] = functools.partial(tuple.__new__, Record)
