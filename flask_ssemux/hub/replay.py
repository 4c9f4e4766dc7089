"""Replay: what clients missed, read from the history and made into pages, within bounds for all of a worker.

After a deploy all clients of a worker come back at once, and ask for about the same. What one of them reads is kept for
a while in ``history_cache.py``; one replay works at a time, and what all hold together is bounded
(``replay_turns.py``). What is over a limit of the history when a client comes is not sent to it, whatever is still
kept, here or in the store.
No streams.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Callable, Iterator, Mapping, NamedTuple

from ..brokers import Broker, ChannelPage, Merge, Range, Record
from ..errors import BrokerBehind, BrokerUnavailable
from ..sse import encode
from .history_cache import HistoryCache
from .replay_turns import Allowance, ReplayTurns

#: Bytes after which a page ends; and events.
PAGE_BYTES, PAGE_EVENTS = 64 * 1024, 1000

#: The server holds a page too while it writes it, with its framing.
COPIES = 2

#: Seconds after which what was of no use meanwhile is forgotten.
SECONDS = 10.0

#: Seconds for which a floor is believed: events grow old where no event comes, too.
FLOOR_SECONDS = 0.1


class Page(NamedTuple):
    """A part of what a client missed.

    :param data: frames, in their order.
    :param missing: channels of which events that would come next are over a limit; the rest of them is left out.
    :param left: where each channel goes on.
    """

    data: bytes
    missing: list[str]
    left: dict[str, Range]


class _Floor(NamedTuple):
    """Up to where a channel's events were over a limit, when ``head`` was the newest event of all."""

    floor: int
    head: int
    asked_at: float


class Replay:
    """The history of one life, for all replays of a worker. For any number of threads or greenlets.

    :param broker: where it is read.
    :param breathe: lets others run.
    :param size: bytes that it may hold: half of them what is shared, half the pages that clients have yet to take.
    """

    def __init__(self, broker: Broker, breathe: Callable[[], None], size: int) -> None:
        self._broker = broker
        self._most = size // 2
        self._turns = ReplayTurns(breathe)
        self.allowance = Allowance(size - self._most)
        self._failed: tuple[float, str] = (0.0, "")
        self._mean = self._largest = 0
        self.begin_anew("")

    def begin_anew(self, epoch: str) -> None:
        """A life of the history begins."""
        self._epoch = epoch
        self._past = HistoryCache(self._most)
        #: Of channels of which events are missing, from which place on they are not.
        self._gone: dict[str, int] = {}
        self._floors: dict[str, _Floor] = {}

    def forget_unused(self) -> None:
        """Forget what was of no use since the last call; if nobody works at this moment."""
        with self._turns.free_turn() as is_free:
            if is_free:
                self._gone.clear()
                self._floors.clear()
                self._past.forget_unused()
                self._largest = 0

    @property
    def size(self) -> int:
        """Bytes that are shared, about."""
        return self._past.size

    @property
    def page_bytes(self) -> int:
        """What the next page will hold, about: as much as the largest that there was lately."""
        return COPIES * max(PAGE_BYTES, self._largest)

    def find_lost(self, ranges: Mapping[str, Range], epoch: str) -> list[str]:
        """The channels whose events here are over a limit by now. Of those that are not here, ``read`` tells.

        :param epoch: whose places these are.
        :raises BrokerUnavailable: the store did not answer; or (``BrokerBehind``) its history began anew.
        """
        with self._turn(epoch):
            gone = [name for name, places in ranges.items() if self._gone.get(name, -1) >= places.after]
            here = {name: it for name, it in ranges.items() if self._past.begins_at(name, it.after)}
            floors = self._find_floors(here)
        return gone + [name for name, it in here.items() if floors[name].floor > it.after and name not in gone]

    def read(self, ranges: Mapping[str, Range], epoch: str) -> Page:
        """The next page of these channels.

        :param epoch: whose places these are.
        :raises BrokerUnavailable: the store did not answer; or (``BrokerBehind``) its history began anew.
        """
        with self._turn(epoch):
            merge = Merge(self._fetch, ranges, self._mean)
            records, missing, _ = merge.read_page(PAGE_EVENTS, PAGE_BYTES)
            merge.drop_channels(missing)
            self._mean = merge.mean
            data = b"".join([record.body for record in _drop_superseded(records)])
            self._largest = max(self._largest, len(data))
            return Page(data, missing, merge.get_remaining())

    # ----------------------------------------------------------------------

    @contextmanager
    def _turn(self, epoch: str) -> Iterator[None]:
        """Work on the history of this life. What fails while others wait fails for them too."""
        waits_since = time.monotonic()
        with self._turns.turn():
            failed_at, reason = self._failed
            if failed_at > waits_since:
                raise BrokerUnavailable(reason)
            self._expect(epoch)
            try:
                yield
            except BrokerBehind:
                raise
            except BrokerUnavailable as error:
                self._failed = time.monotonic(), str(error)
                raise
            self._expect(epoch)

    def _expect(self, epoch: str) -> None:
        if epoch != self._epoch:
            raise BrokerBehind("the history began anew while it was read")

    def _find_floors(self, ranges: Mapping[str, Range]) -> dict[str, _Floor]:
        """The floors of these channels, not older than their ranges; what was asked a moment ago is not asked again."""
        floors, now = self._floors, time.monotonic()
        asked = [name for name, places in ranges.items() if not _is_valid(floors.get(name), places.upto, now)]
        if asked:
            head, found = self._broker.history.get_floors(asked)
            self._expect(head.epoch)
            floors.update((name, _Floor(floor, head.sequence, now)) for name, floor in found.items())
        return {name: floors[name] for name in ranges}

    def _fetch(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        """As ``Broker.read_channels``, with frames in place of bodies: what is here, and the rest from the broker."""
        past, gone = self._past, self._gone  # of one life, whatever begins meanwhile
        parts: dict[str, ChannelPage] = {}
        unread: dict[str, Range] = {}
        for name, places in ranges.items():
            part = past.find(name, places, limit)
            if part is None:
                unread[name] = Range(places.after, past.next_start(name, *places))
            else:
                parts[name] = part
        if unread:
            for name, part in self._broker.history.read_channels(unread, limit, size).items():
                parts[name] = part = part._replace(records=self._frame(part.records))
                if part.is_missing:
                    gone[name] = max(unread[name].after, gone.get(name, -1))
                else:
                    past.add(name, unread[name].after, part)
        return parts

    def _frame(self, records: list[Record]) -> list[Record]:
        """Events as they go out."""
        return [
            Record(sequence, channel, encode.frame(body, "%s-%d" % (self._epoch, sequence)), latest)
            for sequence, channel, body, latest in records
        ]


def _drop_superseded(records: list[Record]) -> list[Record]:
    """Of those with a key, the newest: some may have been read before the next with their key came."""
    newest = {(record.channel, record.latest): record for record in records if record.latest is not None}
    if not newest:
        return records
    return [it for it in records if it.latest is None or newest[it.channel, it.latest] is it]


def _is_valid(floor: _Floor | None, upto: int, now: float) -> bool:
    """Whether it was asked when the event at this place was there, and a moment ago."""
    return floor is not None and floor.head >= upto and now - floor.asked_at < FLOOR_SECONDS
