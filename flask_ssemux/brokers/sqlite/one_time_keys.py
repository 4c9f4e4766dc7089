"""The one-time keys of the SQLite broker: the table ``claims``."""

from __future__ import annotations

import time

from ..contract.one_time_keys import OneTimeKeys
from .database import Database
from .store import SQLiteStore


class SQLiteOneTimeKeys(OneTimeKeys):
    def __init__(self, store: SQLiteStore) -> None:
        self._store = store

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        with self._store.opened() as file:
            return file.change(lambda: _use_key(file, key, seconds))


def _use_key(database: Database, key: str, seconds: float) -> bool:
    now = time.time()
    database.write("DELETE FROM claims WHERE until <= ?", (now,))
    row = (key, now + seconds)
    return database.write("INSERT OR IGNORE INTO claims VALUES (?, ?)", row).rowcount == 1
