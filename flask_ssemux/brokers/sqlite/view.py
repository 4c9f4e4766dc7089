"""The database as a command sees it that only looks: it is opened to read, and no file is made or changed.

SQLite makes files beside a database even for a connection that only reads, unless another process has it open. If no
process has, the database is read as a file that does not change, and opened again once a process has.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from typing import Any, cast
from urllib.parse import quote

from ..records import HistoryLimits
from .connection import identify_file, measure_size
from .database import Database
from .events import Events
from .file import StoreFile
from .floors import HistoryFloors
from .leap import Voids
from .obstacle import NO_STORE
from .reading import Reading
from .schema import check_tables


class _NoReserve:
    """Stands for the file beside the database, which is not opened."""

    def __init__(self, path: str) -> None:
        self.path = path


class StoreView(StoreFile):
    """Every method is called with the broker's lock held. What changes the store raises an error of SQLite.

    :raises FileNotFoundError: there is no database.
    :raises sqlite3.DatabaseError: it is not a store of this version.
    """

    def __init__(self, path: str, deadline: float, voids: Voids) -> None:
        if measure_size(path) == 0:
            raise FileNotFoundError(errno.ENOENT, NO_STORE, path)
        Database.__init__(self, cast(Any, _NoReserve(path)), deadline)
        try:
            self._open_view(voids)
        except BaseException:
            self.close()
            raise

    def _open_view(self, voids: Voids) -> None:
        self.identity = identify_file(self.path)
        self._is_alone = not self._is_in_use()
        self.open_connections()
        check_tables(self.reader)
        (self.epoch, *limits) = self.read("SELECT epoch, seconds, events, size FROM life").fetchone()
        self.limits = HistoryLimits(*limits)
        self.floors = HistoryFloors(self)
        self.events, self.past = Events(self, self.floors, voids), Reading(self, self.floors)
        self.leap = voids.load(self)

    def _is_in_use(self) -> bool:
        return os.path.exists(self.path + "-wal") or os.path.exists(self.path + "-shm")

    def open_connections(self) -> None:
        address = "file:%s?mode=ro%s" % (quote(self.path), "&immutable=1" if self._is_alone else "")
        made = sqlite3.connect(address, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        self._connections.append(made)
        self.reader = self.writer = made

    def is_in_place(self) -> bool:
        """Return whether the view is of the file as it is now: no other file is there, and no process changes it."""
        return identify_file(self.path) == self.identity and not (self._is_alone and self._is_in_use())
