"""What all generators of a process yielded, appended to the store together: at most one call every 20 ms.

A generator puts its events into its ``Outbox``. One thread (or greenlet) takes what all outboxes have and appends it in
one atomic call, in which the store also compares the leases. The first events after a pause are appended at once. An
outbox is bounded: while the store is slow or away, its generator waits. What is yielded, and who runs a generator, is
not known here.
"""

from __future__ import annotations

import threading
import time
from typing import Callable, Iterable, Sequence

from ..brokers import Broker, NewEvent, WorkBatch, WorkLease
from ..errors import ApplicationError, BrokerClosed
from ..options import log
from ..sse.cursor import Cursor
from ..util import forks
from ..util.log_throttle import LogThrottle
from ..util.made_when_used import MadeWhenUsed, forget
from ..util.supervise import Loop, attempt
from ..util.threads import greenlets_are_threads

#: Seconds between two calls of the store, unless a generator waits for room.
INTERVAL = 0.02

#: Seconds in which threads, which run at any time, collect what a generator yields in one go.
GATHER = 0.002

#: After so many events, or bytes, the generator of an outbox waits until they are appended.
OUTBOX_EVENTS, OUTBOX_BYTES = 200, 256 * 1024

#: How many events, and bytes, one call appends at most. It holds up the store for some 10 ms.
CALL_EVENTS, CALL_BYTES = 500, 1024 * 1024

#: Seconds that the thread waits for more events before it ends.
LINGER = 10.0

#: Seconds from a failed call to the next one; doubled up to the maximum.
PAUSE, MAX_PAUSE = 0.05, 1.0


class LeaseLost(ApplicationError):
    """Another process has taken the generator's work over, or has ended its run. What was yielded since is dropped."""


class Outbox:
    """The events of one generator that are not appended yet.

    :param lease: under which they are appended.
    """

    def __init__(self, batches: Batches, lease: WorkLease) -> None:
        self.lease = lease
        #: How many batches were made of its events.
        self._batch_count = 0
        #: The events that wait, oldest first, and their bytes.
        self.events: list[NewEvent] = []
        self.size = 0
        #: The state with which the lease's run ends after these events.
        self.end_state: str | None = None
        #: Whether the lease was lost, so that nothing is appended any more.
        self.is_lost = False
        #: Whether the next call appends its events.
        self.is_waiting = False
        self._batches = batches

    def add_event(self, event: NewEvent) -> None:
        """Add an event. If too many wait, this returns when they are appended.

        :raises LeaseLost: the lease was lost. No more events are accepted.
        """
        if self.is_full:
            self._batches.await_progress(lambda: not self.is_full or self.is_lost)
        if self.is_lost or self.end_state is not None:
            raise LeaseLost("the work %r was taken over by another process, or was ended" % self.lease.name)
        self.events.append(event)
        self.size += len(event.body)
        if not self.is_waiting:
            self._batches.note_events(self)

    @property
    def has_work(self) -> bool:
        """Whether events wait, or the end."""
        return bool(self.events) and not self.is_lost

    @property
    def is_full(self) -> bool:
        return len(self.events) >= OUTBOX_EVENTS or self.size >= OUTBOX_BYTES

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all events are appended; return whether they are.

        :param timeout: seconds to wait at most.
        """
        return self._batches.await_progress(lambda: self.is_lost or not self.events, timeout) and not self.is_lost

    def end_run(self, state: str, events: Iterable[NewEvent], timeout: float | None = None) -> bool:
        """Append the last events of a run, and end it in the same step; return whether this was done.

        If two threads end the run, the first one's events are appended, and those of the other are not.

        :param timeout: seconds to wait at most. If they are over, it may still be done.
        """
        if self.end_state is None:
            for event in events:
                self.events.append(event)
                self.size += len(event.body)
            self.end_state = state
            self._batches.note_events(self)
        return self.flush(timeout)

    def take_batch(self, count: int, size: int) -> WorkBatch:
        """Return the oldest events as a batch: one at least, and no more than so many events and bytes."""
        taken = 0
        for event in self.events[: max(1, count)]:
            size -= len(event.body)
            if size < 0 and taken:
                break
            taken += 1
        is_whole = taken == len(self.events)
        self._batch_count += 1
        return WorkBatch(self.lease, self.events[:taken], self.end_state if is_whole else None, self._batch_count)

    def remove_appended(self, batch: WorkBatch) -> None:
        """The events of a batch are in the store."""
        del self.events[: len(batch.events)]
        self.size -= sum(len(event.body) for event in batch.events)

    def drop(self) -> None:
        """The lease was lost: nothing is appended any more."""
        self.is_lost = True
        self.events, self.size = [], 0


class Batches:
    """The outboxes of one application in this process.

    :param get_broker: returns the broker of this process.
    """

    #: Notified when there are events, and when some were appended.
    _changed = MadeWhenUsed(lambda batches: threading.Condition())
    _loop = MadeWhenUsed(
        lambda batches: Loop("ssemux-work", batches._changed, batches._is_needed, batches._append_waiting)
    )

    def __init__(self, get_broker: Callable[[], Broker]) -> None:
        self._get_broker = get_broker
        self._throttle = LogThrottle()
        self._begin_process()
        forks.register_owner(self)

    def _begin_process(self) -> None:
        forget(self, "_changed", "_loop")
        #: Outboxes that have events.
        self._waiting: list[Outbox] = []
        self._is_idle = True
        #: How many generators wait until events are appended.
        self._awaiting = 0
        self._last_call = float("-inf")
        self._pause = 0.0
        #: What the last call was to append, if it failed.
        self._attempted: list[tuple[Outbox, WorkBatch]] = []
        #: How many events were appended.
        self.appended = 0

    def open_outbox(self, lease: WorkLease) -> Outbox:
        """Return an outbox for the events of this lease; see ``Outbox``."""
        return Outbox(self, lease)

    def disown(self) -> None:
        """In a forked child: the generators are the parent's."""
        self._begin_process()

    # -- called by outboxes --------------------------------------------------

    def note_events(self, outbox: Outbox) -> None:
        """An outbox has events, and is not waiting."""
        with self._changed:
            if not outbox.is_waiting:
                outbox.is_waiting = True
                self._waiting.append(outbox)
            if self._is_idle or not self._loop.is_running:
                self._start_loop()

    def _start_loop(self) -> None:
        """Have the events appended. With the lock held."""
        if attempt("what generators yielded waits until the system has a thread", self._loop.start):
            self._is_idle = False
            self._changed.notify_all()

    def await_progress(self, is_done: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until this is so; return whether it is."""
        if is_done():
            return True
        with self._changed:
            self._awaiting += 1
            try:
                return self._wait_for_loop(is_done, timeout)
            finally:
                self._awaiting -= 1

    def _wait_for_loop(self, is_done: Callable[[], bool], timeout: float | None) -> bool:
        """With the lock held. If there was no thread for the loop, try again to start it meanwhile."""
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while self._is_idle and not is_done() and time.monotonic() < deadline:
            self._start_loop()
            if self._is_idle:
                self._changed.wait(max(0.0, min(MAX_PAUSE, deadline - time.monotonic())))
        return bool(self._changed.wait_for(is_done, None if timeout is None else max(0.0, deadline - time.monotonic())))

    # -- the thread ----------------------------------------------------------

    def _is_needed(self) -> bool:
        """With the lock held."""
        if not self._waiting:
            self._is_idle = True
            self._changed.wait_for(lambda: bool(self._waiting), LINGER)
            self._is_idle = not self._waiting
        return bool(self._waiting)

    def _append_waiting(self) -> None:
        self._let_events_gather()
        with self._changed:
            outboxes, self._waiting = self._waiting, []
            for outbox in outboxes:  # before their events are read: what is added from now on is noted again
                outbox.is_waiting = False
        try:
            self._append_batches(outboxes)
        except BrokerClosed:
            for outbox in outboxes:
                outbox.drop()
        except Exception as error:
            self._put_back(outboxes)
            self._wait_for_store(error)
        else:
            self._put_back([outbox for outbox in outboxes if outbox.has_work])
        if self._awaiting:
            with self._changed:
                self._changed.notify_all()

    def _let_events_gather(self) -> None:
        left = self._last_call + INTERVAL - time.monotonic()
        if self._awaiting or not greenlets_are_threads():
            left = GATHER if self._awaiting else max(left, GATHER)
        if left > 0:
            forks.sleep(left)

    def _append_batches(self, outboxes: Sequence[Outbox]) -> None:
        """Append the oldest events of these outboxes. If the last call failed, it is repeated with what it had: its
        events may be in the store all the same."""
        self._last_call = time.monotonic()
        self._attempted = self._attempted or _take_batches(outboxes)
        if self._attempted:
            results = self._get_broker().work.append_work([batch for _, batch in self._attempted])
            for (outbox, batch), cursors in zip(self._attempted, results):
                self._note_result(outbox, batch, cursors)
        self._attempted, self._pause = [], 0.0

    def _note_result(self, outbox: Outbox, batch: WorkBatch, cursors: Sequence[Cursor] | None) -> None:
        if cursors is None:
            outbox.drop()
        else:
            outbox.remove_appended(batch)
            self.appended += len(cursors)

    def _put_back(self, outboxes: Iterable[Outbox]) -> None:
        with self._changed:
            for outbox in outboxes:
                if not outbox.is_waiting:
                    outbox.is_waiting = True
                    self._waiting.append(outbox)

    def _wait_for_store(self, error: Exception) -> None:
        more = self._throttle.count(type(error).__name__, time.monotonic())
        if more is not None:
            log.error("what generators yielded waits for the store: %s%s", error, more)
        self._pause = min(MAX_PAUSE, max(PAUSE, 2 * self._pause))
        forks.sleep(self._pause)


def _take_batches(outboxes: Iterable[Outbox]) -> list[tuple[Outbox, WorkBatch]]:
    """Return the oldest events of each outbox, as many as one call appends."""
    taken: list[tuple[Outbox, WorkBatch]] = []
    count, size = CALL_EVENTS, CALL_BYTES
    for outbox in outboxes:
        if outbox.events and count > 0 and size > 0:
            batch = outbox.take_batch(count, size)
            count -= len(batch.events)
            size -= sum(len(event.body) for event in batch.events)
            taken.append((outbox, batch))
    return taken
