"""Composes the PostgreSQL broker of its parts."""

from __future__ import annotations

from ...sse.cursor import Cursor
from ..contract import Broker
from ..names import make_process_name
from ..records import HistoryLimits
from .history import PostgresHistory
from .leases import PostgresLeases
from .one_time_keys import PostgresOneTimeKeys
from .presence import PostgresPresence
from .reports import PostgresReports
from .store import PostgresStore
from .work import PostgresWork


class PostgresBroker(Broker):
    """Keeps everything in one schema of a PostgreSQL database.

    :param url: see ``PostgresURL``.
    :param limits: how much is kept; None keeps what the store says.
    :param namespace: is added to the name of the schema.
    :param is_look: only read, and make no tables.
    :raises ConfigurationError: the URL cannot be understood, or psycopg is missing.
    """

    history: PostgresHistory
    leases: PostgresLeases
    presence: PostgresPresence
    reports: PostgresReports
    work: PostgresWork

    def __init__(
        self, url: str, limits: HistoryLimits | None = None, namespace: str | None = None, is_look: bool = False
    ) -> None:
        self._store = store = PostgresStore(url, limits, namespace, is_look)
        self.store_name = store.address.store_name
        self.process_name = make_process_name()
        self.history = PostgresHistory(store)
        self.leases = PostgresLeases(store, self.process_name)
        self.presence = PostgresPresence(store, self.process_name)
        self.reports = PostgresReports(store, self.process_name)
        self.one_time_keys = PostgresOneTimeKeys(store)
        self.work = PostgresWork(store, self.history, self.process_name)

    def get_figures(self) -> dict[str, object]:
        ((epoch, newest, events, channels, held, size, unplaced),) = self._store.read("get_figures")
        return {
            "broker": "postgres",
            "server": self._store.address.shown,
            "schema": self._store.address.schema,
            "cursor": str(self._store.note_cursor(Cursor(epoch, newest))),
            "events": events,
            "channels": channels,
            "held": held + self.leases.slots.count_unwritten(),
            "bytes": size,
            "unplaced": unplaced,
        }

    @property
    def waiting_calls(self) -> int:
        return self._store.waiting_calls + self.history.waiting_appends

    def disown(self) -> None:
        self._store.is_closed = True  # its connections end in a child by themselves: see ``connection.py``

    def close(self) -> None:
        if self._store.is_closed:
            return
        self.work.remove_all()
        self.leases.release_all()
        self.reports.remove_all()
        self.presence.remove_all()
        self.history.stop_delivery()
        self._store.close()
