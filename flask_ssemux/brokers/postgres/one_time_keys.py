"""The one-time keys of the PostgreSQL broker: see ``use_key`` in ``sql/reports.sql``."""

from __future__ import annotations

from ..contract.one_time_keys import OneTimeKeys
from .store import PostgresStore


class PostgresOneTimeKeys(OneTimeKeys):
    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        return bool(self._store.call("use_key", key, seconds)[0][0])
