"""Composes the SQLite broker of its parts."""

from __future__ import annotations

import os

from ...errors import BrokerUnavailable
from ..contract import Broker
from ..names import make_process_name
from ..records import HistoryLimits
from .connection import measure_size
from .database import Database
from .file import StoreFile
from .history import SQLiteHistory
from .leases import SQLiteLeases, count_all_slots, release_all
from .obstacle import Place
from .one_time_keys import SQLiteOneTimeKeys
from .presence import SQLitePresence, remove_presence
from .reports import SQLiteReports, remove_reports
from .store import SQLiteStore
from .wakeups import Wakeups
from .work import SQLiteWork, remove_work


class SQLiteBroker(Broker):
    """Keeps everything in one SQLite file.

    :param path: the file; its folder is made when it is first opened.
    :param limits: how much is kept; None keeps what the file says.
    :param is_look: only read, and make and change no file.
    """

    history: SQLiteHistory

    def __init__(self, path: str, limits: HistoryLimits | None = None, is_look: bool = False) -> None:
        self.path = path
        self.store_name = "sqlite:///" + os.path.realpath(path)
        self.process_name = make_process_name()
        self._store = store = SQLiteStore(path, limits, is_look)
        self._wakeups = Wakeups(path)
        self.history = SQLiteHistory(store, self._wakeups)
        self.leases = SQLiteLeases(store, self.process_name)
        self.presence = SQLitePresence(store, self.process_name)
        self.reports = SQLiteReports(store, self.process_name)
        self.one_time_keys = SQLiteOneTimeKeys(store)
        self.work = SQLiteWork(store, self.history, self.process_name)

    def get_figures(self) -> dict[str, object]:
        with self._store.opened() as file:
            cursor = file.events.get_newest_cursor()
            kept = _count_kept(file, self.leases.slots.count_unwritten())
            return {"broker": "sqlite", "file": self.path, "cursor": str(cursor), **kept}

    def find_missing_file(self) -> str | None:
        if measure_size(self.path):
            return None
        obstacle = Place(self.path, reads_only=True).find_obstacle()
        if obstacle is not None:
            raise BrokerUnavailable("the SQLite store %s: %s" % (self.path, obstacle))
        return self.path

    def prepare_fork(self) -> None:
        self._store.prepare_fork()

    def finish_fork(self) -> None:
        self._store.finish_fork()

    def disown(self) -> None:
        self._store.disown()
        self._wakeups.disown()

    def close(self) -> None:
        if self._store.is_closed:
            return
        if self._store.file is not None and not self._store.is_look:
            self._store.change_quietly(self._remove_own_rows)
        self.leases.slots.share = 0
        self._store.close()
        self.history.wake_delivery()
        self._wakeups.close()

    def _remove_own_rows(self, database: Database) -> None:
        release_all(database, self.process_name)
        remove_presence(database, self.process_name)
        remove_reports(database, self.process_name)
        remove_work(database, self.process_name)


def _count_kept(file: StoreFile, unwritten: int) -> dict[str, object]:
    """
    :param unwritten: user slots that this process has taken of its share.
    """
    return {
        "events": file.read("SELECT count(*) FROM events").fetchone()[0],
        "channels": file.read("SELECT count(*) FROM channels WHERE kept > 0").fetchone()[0],
        "held": count_all_slots(file) + unwritten,
        "bytes": measure_size(file.path) + measure_size(file.path + "-wal"),
    }
