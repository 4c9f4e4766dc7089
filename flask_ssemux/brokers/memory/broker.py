"""Composes the memory broker of its parts."""

from __future__ import annotations

from ..contract import Broker
from ..names import make_process_name
from ..records import HistoryLimits
from .history import MemoryHistory
from .leases import MemoryLeases
from .one_time_keys import MemoryOneTimeKeys
from .presence import MemoryPresence
from .reports import MemoryReports
from .store import MemoryStore
from .work import MemoryWork


class MemoryBroker(Broker):
    """Keeps everything under one lock.

    :param limits: how much is kept.
    """

    is_shared = False
    history: MemoryHistory
    leases: MemoryLeases

    def __init__(self, limits: HistoryLimits) -> None:
        self._store = store = MemoryStore()
        self.process_name = make_process_name()
        self.history = MemoryHistory(store, limits)
        self.leases = MemoryLeases(store, self.process_name)
        self.presence = MemoryPresence(store)
        self.reports = MemoryReports(store, self.process_name)
        self.one_time_keys = MemoryOneTimeKeys(store)
        self.work = MemoryWork(store, self.history, limits)

    def get_figures(self) -> dict[str, object]:
        with self._store.changed:
            self._store.check_open()
            return {
                "broker": "memory",
                "cursor": str(self.history.get_cursor()),
                **self.history.events.count_kept(),
                "held": self.leases.slots.total,
            }

    def disown(self) -> None:
        self._store.is_closed = True

    def close(self) -> None:
        with self._store.changed:
            self._store.is_closed = True
            self._store.changed.notify_all()
        self.leases.slots.share = 0
