"""The one-time keys of the memory broker, which it forgets when they expire."""

from __future__ import annotations

import time

from ..contract.one_time_keys import OneTimeKeys
from .store import MemoryStore


class MemoryOneTimeKeys(OneTimeKeys):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        #: When each used key expires.
        self._used: dict[str, float] = {}

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        with self._store.changed:
            self._store.check_open()
            now = time.monotonic()
            self._used = {name: expires_at for name, expires_at in self._used.items() if expires_at > now}
            is_first = key not in self._used
            self._used.setdefault(key, now + seconds)
            return is_first
