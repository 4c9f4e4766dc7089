"""The leases of the memory broker: all of them are this process's, so none expires."""

from __future__ import annotations

from ..contract.leases import Leases
from .store import MemoryStore


class MemoryLeases(Leases):
    def __init__(self, store: MemoryStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self._slots: dict[str, int] = {}

    def take_user_slot(self, key: str, limit: int) -> bool:
        with self._store.changed:
            self._store.check_open()
            taken = self._slots.get(key, 0)
            if taken < limit:
                self._slots[key] = taken + 1
            return taken < limit

    def release_user_slot(self, key: str) -> None:
        with self._store.changed:
            left = self._slots.pop(key, 0) - 1
            if left > 0:
                self._slots[key] = left

    def renew_leases(self) -> None:
        pass

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        pass  # there is no other process

    def find_oldest_slot_holder(self, key: str) -> str | None:
        with self._store.changed:
            self._store.check_open()
            return self._process_name if key in self._slots else None

    def count_slots(self) -> int:
        """Return how many slots are taken. The caller holds the lock."""
        return sum(self._slots.values())
