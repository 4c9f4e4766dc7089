"""The one-time keys of the Redis broker."""

from __future__ import annotations

from ..contract.one_time_keys import OneTimeKeys
from ..names import make_random_name
from . import scripts
from .store import RedisStore


class RedisOneTimeKeys(OneTimeKeys):
    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        return bool(self._store.call(scripts.USE_KEY, key, int(seconds * 1000), make_random_name())[2])
