"""Calls the listener of the memory broker: in a thread of its own, or in the one that has appended an event."""

from __future__ import annotations

import threading

from ...sse.cursor import Cursor
from ...util.threads import try_acquire
from ..contract.history import Listener, call_listener
from ..records import Record
from .kept_events import KeptEvents
from .store import MemoryStore


class MemoryDelivery:
    """Delivers each event once, in the order of the sequences.

    :param start: the cursor after which events are delivered.
    """

    def __init__(self, store: MemoryStore, events: KeptEvents, listener: Listener, start: Cursor) -> None:
        self._store = store
        self._events = events
        self._listener = listener
        self._epoch, self._delivered = start
        #: Held while the listener is called.
        self._turn = threading.Lock()

    def deliver_now(self, record: Record) -> bool:
        """Deliver an event from the thread that appended it, if it is the next one; return whether it was delivered."""
        if not try_acquire(self._turn):
            return False
        try:
            if record.sequence != self._delivered + 1 or not self._listener.deliver_now(record):
                return False
            self._delivered = record.sequence
            return True
        finally:
            self._turn.release()

    def run(self) -> None:
        """Deliver what was not delivered at once, until the broker is closed."""
        store = self._store
        while not store.is_closed:
            with store.changed:
                while self._events.sequence == self._delivered and not store.is_closed:
                    store.changed.wait()
            with self._turn:
                self._deliver_batch()

    def _deliver_batch(self) -> None:
        with self._store.changed:
            newest = self._events.sequence
            new, lost = self._events.read_new_events(self._delivered)
        self._delivered = new[-1].sequence if new and lost is not None else newest
        upto = Cursor(self._epoch, self._delivered)
        if lost is None:
            call_listener(self._listener.begin_epoch, upto)
            return
        if lost:
            call_listener(self._listener.report_gap, lost, upto)
        if new:
            call_listener(self._listener.deliver, new)
