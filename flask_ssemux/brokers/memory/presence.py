"""The presence of the memory broker: this process's streams, until it has announced nothing for too long."""

from __future__ import annotations

import time

from ..contract.presence import Presence, StreamCounts
from .store import MemoryStore


class MemoryPresence(Presence):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._counts: dict[tuple[str, str], int] = {}
        self._expires_at = 0.0

    def announce_presence(self, counts: StreamCounts, seconds: float, replace_all: bool = False) -> bool:
        with self._store.changed:
            self._store.check_open()
            was_there = time.monotonic() < self._expires_at
            if replace_all or not was_there:
                self._counts.clear()
            self._expires_at = time.monotonic() + seconds
            self._counts.update(counts)
            self._counts = {key: count for key, count in self._counts.items() if count}
            return was_there

    def get_presence(self, channel: str) -> dict[str, int]:
        with self._store.changed:
            self._store.check_open()
            if time.monotonic() >= self._expires_at:
                return {}
            return {user: count for (name, user), count in self._counts.items() if name == channel}
