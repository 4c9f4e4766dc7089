"""Appends of callers that wait at the same time go to the server together, so that a server far away is no bottleneck.

The first caller leads: it appends its events at once. Those who come while it waits for the answer are the next batch,
which the first of them leads. A batch is one transaction; each caller gets the cursors of its own events, or an error.
No delivery, no trimming.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from typing import Callable, Iterable, Sequence

from ...errors import BrokerUnavailable
from ...sse.cursor import Cursor
from ...util import forks
from ..contract import constants
from ..records import NewEvent
from .store import PostgresStore
from .values import pack_bodies, pack_texts

#: Events, and bytes of bodies, after which a batch takes no more callers.
BATCH_EVENTS, BATCH_BYTES = 500, 256 * 1024

#: How the SQLSTATEs begin with which the server refuses events for what they are. Then nothing was stored, and each
#: caller's events are tried by themselves.
REFUSED_DATA = ("22", "54")

#: Events of a channel for which ``append_event`` is not tried after it was of no use, and channels that are remembered.
SKIPS, MOST_SKIPS = 20, 1000


class _Append:
    """The events of one caller.

    :ivar woken: set when they have their cursors or an error, or when their caller leads the next batch.
    """

    __slots__ = ("events", "size", "deadline", "woken", "leads", "cursors", "error")

    def __init__(self, events: Sequence[NewEvent]) -> None:
        self.events = events
        self.size = sum(len(event.body) for event in events)
        self.deadline = time.monotonic() + constants.WAIT_SECONDS
        self.woken = threading.Event()
        self.leads = False
        self.cursors: list[Cursor] = []
        self.error: Exception | None = None


class Appends:
    """The callers of one process that append.

    :param announce: called with the events of each batch, the cursor of its last one, and the channels that went over
        the limit of events.
    """

    def __init__(
        self, store: PostgresStore, announce: Callable[[Sequence[NewEvent], Cursor, Iterable[str] | None], object]
    ) -> None:
        self._store = store
        self._announce = announce
        self._lock = threading.Lock()
        self._waiting: deque[_Append] = deque()
        self._has_leader = False
        self._shortcut = Shortcut()

    @property
    def waiting_calls(self) -> int:
        """How many callers wait for the next batch."""
        return len(self._waiting)

    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        """See ``EventHistory.append_events``."""
        mine = _Append(events)
        with self._lock:
            self._waiting.append(mine)
            mine.leads, self._has_leader = not self._has_leader, True
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._lead_batch()
        if mine.error is not None:
            raise mine.error
        return mine.cursors

    def _wait(self, mine: _Append) -> None:
        """Return when the caller has its answer, or leads, or has waited for too long."""
        born = forks.generation
        try:
            mine.woken.wait(constants.WAIT_SECONDS)
            forks.halt_copy(born)
        except BaseException:  # such as the end of the caller's greenlet
            with self._lock:
                self._leave(mine)
            if mine.leads:
                self._appoint_leader()
            raise
        if not mine.woken.is_set():
            self._give_up(mine)

    def _give_up(self, mine: _Append) -> None:
        with self._lock:
            if mine.woken.is_set():  # in this moment: it has its answer, or leads
                return
            was_waiting = self._leave(mine)
        said = "others append events, for %g s"
        if not was_waiting:
            said = "no answer in %g s; it is not known whether the call was carried out"
        mine.error = self._store.address.make_refusal(said % constants.WAIT_SECONDS)

    def _leave(self, mine: _Append) -> bool:
        """Take a caller out of the next batch; return whether it was in it. With the lock held."""
        if mine not in self._waiting:
            return False
        self._waiting.remove(mine)
        return True

    # -- the leader --------------------------------------------------------

    def _lead_batch(self) -> None:
        stored: list[tuple[list[NewEvent], Cursor, Iterable[str] | None]] = []
        try:
            self._store_batch(self._take_batch(), stored)
        finally:
            self._appoint_leader()
        for batch in stored:
            self._announce(*batch)

    def _take_batch(self) -> list[_Append]:
        """Return the callers of the next batch: the first one, and as many others as there is room for."""
        with self._lock:
            batch = [self._waiting.popleft()]
            events, size = len(batch[0].events), batch[0].size
            while self._waiting:
                events += len(self._waiting[0].events)
                size += self._waiting[0].size
                if events > BATCH_EVENTS or size > BATCH_BYTES:
                    break
                batch.append(self._waiting.popleft())
            return batch

    def _appoint_leader(self) -> None:
        """The first caller who waits leads the next batch."""
        with self._lock:
            self._has_leader = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                self._waiting[0].woken.set()

    def _store_batch(
        self, batch: Sequence[_Append], stored: list[tuple[list[NewEvent], Cursor, Iterable[str] | None]]
    ) -> None:
        """Store the events of these callers, and wake them.

        :param stored: what was stored is added to it.
        """
        events = [event for one in batch for event in one.events]
        try:
            last, over = self._call_store(events, batch[0].deadline)
        except (BrokerUnavailable, ValueError) as error:
            is_data = isinstance(error, ValueError) or error.code.startswith(REFUSED_DATA)
            if is_data and len(batch) > 1:
                for one in batch:
                    self._store_batch([one], stored)
                return
            _fail(batch, error)
        except Exception as error:
            _fail(batch, error)
        except BaseException:  # such as the end of the leader's greenlet
            _fail(batch, self._store.address.make_refusal(
                "the call was ended that had these events; it is not known whether it was carried out"
            ))  # fmt: skip
            raise
        else:
            stored.append((events, last, over))
            _answer(batch, list_cursors(last, len(events)))

    def _call_store(self, events: Sequence[NewEvent], deadline: float) -> tuple[Cursor, Iterable[str] | None]:
        """Store events in one transaction; return the last cursor, and the channels that went over the limit of events.

        :param deadline: the leader's: the others of its batch came later.
        """
        if len(events) == 1 and events[0].latest_key is None and self._shortcut.may_try(events[0].channel):
            return self._store_one(events[0], deadline)
        ((epoch, last, over),) = self._store.call(
            "append_events", *pack_events(events), constants.OWN_EVENTS, self._store.address.commit_mode,
            deadline=deadline,
        )  # fmt: skip
        return self._store.note_cursor(Cursor(epoch, last)), over

    def _store_one(self, event: NewEvent, deadline: float) -> tuple[Cursor, Iterable[str] | None]:
        """Store one event that replaces no other, which mostly costs the server less."""
        name = event.channel.encode("utf-8")  # it raises what it raises for several events
        values = name, event.body, constants.OWN_EVENTS, self._store.address.commit_mode
        ((answer,),) = self._store.call("append_event", *values, deadline=deadline)
        epoch, last, *detour = answer.split(" ")
        if detour:
            self._shortcut.note_detour(event.channel if detour == ["over"] else None)
        return self._store.note_cursor(Cursor(epoch, int(last))), [event.channel] if detour == ["over"] else None


class Shortcut:
    """For which channels ``append_event`` is of no use for now: it tried, and ``append_events`` had to store the event.

    That is the rule for a channel at its limit of events, and for all channels of a store at its limit of bytes.
    """

    def __init__(self) -> None:
        self._skips: dict[str | None, int] = {}

    def may_try(self, channel: str) -> bool:
        """Return whether to try it for the next event of this channel; each question counts as one event."""
        return self._count_down(None) and self._count_down(channel)

    def note_detour(self, channel: str | None) -> None:
        """:param channel: the one at its limit; None if it was another reason."""
        if len(self._skips) >= MOST_SKIPS:
            self._skips.clear()
        self._skips[channel] = SKIPS

    def _count_down(self, key: str | None) -> bool:
        left = self._skips.pop(key, 0)
        if left > 1:
            self._skips[key] = left - 1
        return not left


def _answer(batch: Sequence[_Append], cursors: Sequence[Cursor]) -> None:
    start = 0
    for one in batch:
        one.cursors = list(cursors[start : start + len(one.events)])
        start += len(one.events)
        one.woken.set()


def _fail(batch: Sequence[_Append], error: Exception) -> None:
    """Give each of them an error of its own: a traceback belongs to one thread."""
    for one in batch:
        one.error = copy.copy(error)
        one.woken.set()


def list_cursors(last: Cursor, count: int) -> list[Cursor]:
    """Return the cursors of so many consecutive events."""
    return [Cursor(last.epoch, last.sequence - left) for left in reversed(range(count))]


def pack_events(events: Sequence[NewEvent]) -> tuple[bytes, bytes, bytes]:
    """Return the channels, the bodies and the keys of latest events, as ``append_events`` in ``sql/append.sql`` takes
    them."""
    return (
        pack_texts(event.channel for event in events),
        pack_bodies(event.body for event in events),
        pack_texts(event.latest_key for event in events),
    )
