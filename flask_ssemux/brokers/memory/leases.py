"""The leases of the memory broker: all of them are this process's, so none expires."""

from __future__ import annotations

from ..contract.leases import Leases
from ..contract.user_slots import SlotAnswer, UserSlots
from .store import MemoryStore


class MemoryLeases(Leases):
    """All slots are this process's share, once it has requested one."""

    def __init__(self, store: MemoryStore, process_name: str) -> None:
        self._store = store
        self._process_name = process_name
        self.slots = UserSlots()

    def ask_for_user_slot(self, key: str, limit: int) -> SlotAnswer:
        self._store.check_open()
        slots = self.slots
        with slots.lock:
            if slots.taken.get(key, 0) >= limit:
                return SlotAnswer.FULL
            slots.change(key, 1)
            return SlotAnswer.TAKEN

    def release_user_slot(self, key: str) -> None:
        with self.slots.lock:
            self.slots.change(key, -1)

    def share_user_slots(self, limit: int) -> None:
        with self.slots.lock:
            self.slots.begin_share(limit, (), float("inf"))
            self.slots.written.clear()

    def write_user_slots(self, key: str) -> None:
        pass  # there is no other process

    def renew_leases(self) -> None:
        pass

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        pass

    def find_oldest_slot_holder(self, key: str) -> str | None:
        self._store.check_open()
        with self.slots.lock:
            return self._process_name if key in self.slots.taken else None
