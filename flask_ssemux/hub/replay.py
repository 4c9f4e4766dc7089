"""Replay: what clients missed, read from the history and made into pages, within bounds for the whole worker.

After a deploy all clients of a worker come back at once, and ask for about the same events. What is read for one of
them is kept for a while in ``history_cache.py``. One replay works at a time (``replay_turns.py``), and the bytes that
all of them hold are bounded (``allowance.py``). An event that is over a limit of the history when a client comes is not
sent to it, even if it is still kept here or in the store. No streams.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Callable, Iterator, Mapping, NamedTuple

from ..brokers import ChannelPage, EventHistory, Merge, Range, Record
from ..errors import BrokerBehind, BrokerUnavailable
from ..sse import encode
from .allowance import Allowance
from .history_cache import HistoryCache
from .replay_turns import ReplayTurns

#: A page ends after so many bytes, or events.
PAGE_BYTES, PAGE_EVENTS = 64 * 1024, 1000

#: The server holds a copy of a page too, with its framing, while it writes the page.
COPIES = 2

#: Seconds after which what was not used meanwhile is forgotten.
UNUSED_SECONDS = 10.0

#: Seconds for which a floor is trusted. Events become too old even where no new event comes.
FLOOR_SECONDS = 0.1


class Page(NamedTuple):
    """A part of what a client missed.

    :param data: frames, in their order.
    :param missing: channels whose next events are over a limit. The rest of these channels is left out.
    :param left: where each other channel goes on.
    """

    data: bytes
    missing: list[str]
    left: dict[str, Range]


class _Floor(NamedTuple):
    """A channel's floor at the time when ``head`` was the sequence of the newest event of all."""

    floor: int
    head: int
    asked_at: float


class Replay:
    """The history of one epoch, for all replays of a worker. Any number of threads or greenlets may use it.

    :param history: where events are read.
    :param yield_control: lets others run.
    :param size: the maximum number of bytes: half for the cache, half for pages that clients have yet to take.
    """

    def __init__(self, history: EventHistory, yield_control: Callable[[], None], size: int) -> None:
        self._history = history
        self._cache_bytes = size // 2
        self._turns = ReplayTurns(yield_control)
        self.allowance = Allowance(size - self._cache_bytes)
        self._failed: tuple[float, str] = (0.0, "")
        self._mean = self._largest = 0
        self.begin_epoch("")

    def begin_epoch(self, epoch: str) -> None:
        """Forget everything: a new epoch begins."""
        self._epoch = epoch
        self._cache = HistoryCache(self._cache_bytes)
        #: Channels of which events are missing, and the sequence from which on they are not.
        self._gone: dict[str, int] = {}
        self._floors: dict[str, _Floor] = {}

    def forget_unused(self) -> None:
        """Forget what was not used since the last call. If a replay works at this moment, nothing is forgotten."""
        with self._turns.take_free_turn() as is_free:
            if is_free:
                self._gone.clear()
                self._floors.clear()
                self._cache.forget_unused()
                self._largest = 0

    @property
    def size(self) -> int:
        """About how many bytes the cache has."""
        return self._cache.size

    @property
    def page_bytes(self) -> int:
        """About how many bytes the next page will hold: as many as the largest page lately."""
        return COPIES * max(PAGE_BYTES, self._largest)

    def find_lost(self, ranges: Mapping[str, Range], epoch: str) -> list[str]:
        """Return the channels of which the cache has events, but these are over a limit now.

        For channels that are not in the cache, ``read_page`` finds out.

        :param epoch: of the ranges' sequences.
        :raises BrokerUnavailable: the store did not answer; or (``BrokerBehind``) a new epoch began.
        """
        with self._take_turn(epoch):
            gone = [name for name, bounds in ranges.items() if self._gone.get(name, -1) >= bounds.after]
            cached = {name: bounds for name, bounds in ranges.items() if self._cache.has_start(name, bounds.after)}
            floors = self._find_floors(cached)
        lost = [name for name, bounds in cached.items() if floors[name].floor > bounds.after]
        return gone + [name for name in lost if name not in gone]

    def read_page(self, ranges: Mapping[str, Range], epoch: str) -> Page:
        """Return the next page of these channels.

        :param epoch: of the ranges' sequences.
        :raises BrokerUnavailable: the store did not answer; or (``BrokerBehind``) a new epoch began.
        """
        with self._take_turn(epoch):
            merge = Merge(self._fetch, ranges, self._mean)
            records, missing, _ = merge.read_page(PAGE_EVENTS, PAGE_BYTES)
            merge.drop_channels(missing)
            self._mean = merge.mean
            data = b"".join([record.body for record in _remove_superseded(records)])
            self._largest = max(self._largest, len(data))
            return Page(data, missing, merge.get_remaining())

    # ----------------------------------------------------------------------

    @contextmanager
    def _take_turn(self, epoch: str) -> Iterator[None]:
        """Work on the history of this epoch. If the store fails, all replays that wait meanwhile fail too."""
        waits_since = time.monotonic()
        with self._turns.take_turn():
            failed_at, reason = self._failed
            if failed_at > waits_since:
                raise BrokerUnavailable(reason)
            self._check_epoch(epoch)
            try:
                yield
            except BrokerBehind:
                raise
            except BrokerUnavailable as error:
                self._failed = time.monotonic(), str(error)
                raise
            self._check_epoch(epoch)

    def _check_epoch(self, epoch: str) -> None:
        if epoch != self._epoch:
            raise BrokerBehind("the history began anew while it was read")

    def _find_floors(self, ranges: Mapping[str, Range]) -> dict[str, _Floor]:
        """Return the floors of these channels, not older than their ranges. The store is not asked twice in a row."""
        floors, now = self._floors, time.monotonic()
        asked = [name for name, bounds in ranges.items() if not _is_valid(floors.get(name), bounds.upto, now)]
        if asked:
            head, found = self._history.get_floors(asked)
            self._check_epoch(head.epoch)
            floors.update((name, _Floor(floor, head.sequence, now)) for name, floor in found.items())
        return {name: floors[name] for name in ranges}

    def _fetch(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        """As ``EventHistory.read_channels``, but from the cache first, and with frames instead of bodies."""
        cache, gone = self._cache, self._gone  # both of one epoch, even if another one begins meanwhile
        parts: dict[str, ChannelPage] = {}
        unread: dict[str, Range] = {}
        for name, bounds in ranges.items():
            part = cache.find_part(name, bounds, limit)
            if part is None:
                unread[name] = Range(bounds.after, cache.find_next_start(name, *bounds))
            else:
                parts[name] = part
        if unread:
            for name, part in self._history.read_channels(unread, limit, size).items():
                parts[name] = part = part._replace(records=self._make_frames(part.records))
                if part.is_missing:
                    gone[name] = max(unread[name].after, gone.get(name, -1))
                else:
                    cache.add_part(name, unread[name].after, part)
        return parts

    def _make_frames(self, records: list[Record]) -> list[Record]:
        """Return the records with frames instead of bodies."""
        return [
            Record(sequence, channel, encode.make_frame(body, "%s-%d" % (self._epoch, sequence)), latest)
            for sequence, channel, body, latest in records
        ]


def _remove_superseded(records: list[Record]) -> list[Record]:
    """Return only the newest of the events with a key: an event may have been read before the next one replaced it."""
    newest = {(record.channel, record.latest_key): record for record in records if record.latest_key is not None}
    if not newest:
        return records
    return [one for one in records if one.latest_key is None or newest[one.channel, one.latest_key] is one]


def _is_valid(floor: _Floor | None, upto: int, now: float) -> bool:
    """Return whether the floor is recent, and was asked for when the event of this sequence existed."""
    return floor is not None and floor.head >= upto and now - floor.asked_at < FLOOR_SECONDS
