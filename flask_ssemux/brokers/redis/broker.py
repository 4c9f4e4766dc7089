"""Composes the Redis broker of its parts."""

from __future__ import annotations

from ..contract import Broker
from ..names import make_process_name
from ..records import HistoryLimits
from . import scripts
from .history import RedisHistory
from .leases import RedisLeases
from .one_time_keys import RedisOneTimeKeys
from .presence import RedisPresence
from .reports import RedisReports
from .store import RedisStore
from .work import RedisWork


class RedisBroker(Broker):
    """Keeps everything on one Redis server.

    :param url: see ``Address``.
    :param limits: how much is kept; None keeps what the store says.
    :param namespace: is added to the prefix of the keys.
    :raises ConfigurationError: the URL cannot be understood, or redis-py is missing.
    """

    history: RedisHistory
    leases: RedisLeases
    presence: RedisPresence
    reports: RedisReports
    work: RedisWork

    def __init__(self, url: str, limits: HistoryLimits | None = None, namespace: str | None = None) -> None:
        self._store = store = RedisStore(url, limits, namespace)
        self.store_name = store.address.store_name
        self.process_name = make_process_name()
        self.history = RedisHistory(store, self.process_name)
        self.leases = RedisLeases(store, self.process_name)
        self.presence = RedisPresence(store, self.process_name)
        self.reports = RedisReports(store, self.process_name)
        self.one_time_keys = RedisOneTimeKeys(store)
        self.work = RedisWork(store, self.history, self.process_name)

    def get_figures(self) -> dict[str, object]:
        answer = self._store.read(scripts.GET_FIGURES, self.process_name)
        events, channels, held, size = map(int, answer[2:])
        return {
            "broker": "redis",
            "server": self._store.address.shown,
            "prefix": self._store.address.prefix,
            "cursor": str(self._store.note_answer(answer)),
            "events": events,
            "channels": channels,
            "held": held + self.leases.slots.total,
            "bytes": size,
        }

    @property
    def waiting_calls(self) -> int:
        return self._store.waiting_calls

    def disown(self) -> None:
        self._store.is_closed = True  # its connections end in a child by themselves: see ``address.py``

    def close(self) -> None:
        if self._store.is_closed:
            return
        self.leases.release_all()
        self.work.remove_all()
        self.reports.remove_all()
        self.presence.remove_all()
        self.history.stop_delivery()
        self._store.close()
