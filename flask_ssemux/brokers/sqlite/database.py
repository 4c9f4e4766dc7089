"""One open database: its two connections, its transactions, and what all parts know of it. No table is named here."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Sequence

from ..records import HistoryLimits
from .connection import open_connection, run_patiently
from .reserve import Reserve

log = logging.getLogger("flask_ssemux")


class Database:
    """Every method is called with the broker's lock held.

    :param reserve: the file beside the database; it stays open when the database is closed.
    :param deadline: until when (monotonic time) statements may wait for other processes.
    """

    #: The epoch of the history in the file.
    epoch: str

    #: How much of the history is kept.
    limits: HistoryLimits

    #: The sequence that the next event gets, if it is not simply the next one: see ``leap.py``.
    leap: int | None = None

    def __init__(self, reserve: Reserve, deadline: float) -> None:
        self.path = reserve.path
        self.reserve = reserve
        self.deadline = deadline
        self._connections: list[sqlite3.Connection] = []
        self._is_resting, self._is_connected = False, True

    def open_connections(self) -> None:
        """Open the two connections: one to write, and one to read at the same time."""
        self.writer, self.reader = self._open_connection(), self._open_connection()

    def _open_connection(self) -> sqlite3.Connection:
        made = open_connection(self.path, self.deadline)
        self._connections.append(made)
        made.execute("PRAGMA wal_autocheckpoint = %d" % self.reserve.checkpoint)
        return made

    def close(self) -> None:
        for connection in reversed(self._connections):
            connection.close()  # the last one to close moves the log into the file

    # -- forks -------------------------------------------------------------

    def begin_rest(self) -> None:
        """Close the connections for a fork, while their user waits for other processes; the statement that waits is
        repeated until the rest ends."""
        self._is_resting, self._is_connected = True, False
        self.close()

    def end_rest(self) -> None:
        """The fork is over: the next statement connects again."""
        self._is_resting = False

    def _find_writer(self) -> sqlite3.Connection:
        self._reconnect()
        return self.writer

    def _find_reader(self) -> sqlite3.Connection:
        self._reconnect()
        return self.reader

    def _reconnect(self) -> None:
        if self._is_connected:
            return
        if self._is_resting:
            raise sqlite3.OperationalError("busy: this process is being forked")
        self._connections.clear()
        self.open_connections()
        self._is_connected = True

    # -- transactions ------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction of ``write`` and ``write_many``; it is rolled back if the block raises."""
        run_patiently(self._find_writer, self.deadline, "BEGIN IMMEDIATE")
        try:
            yield
            run_patiently(self._find_writer, self.deadline, "COMMIT")
        except BaseException:
            if self.writer.in_transaction:
                self.writer.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A transaction of ``read``: all its statements see the store as of one moment."""
        run_patiently(self._find_reader, self.deadline, "BEGIN")
        try:
            yield
        finally:
            self.reader.execute("COMMIT")

    def write(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement of the transaction that ``writing`` opened."""
        return self.writer.execute(statement, values)

    def write_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self.writer.executemany(statement, rows)

    def read(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement that only reads, in a transaction of ``reading`` or in one of its own."""
        return run_patiently(self._find_reader, self.deadline, statement, values)

    # -- room --------------------------------------------------------------

    def count_free_pages(self) -> int:
        """Return how many pages of the file hold nothing."""
        return int(self.writer.execute("PRAGMA freelist_count").fetchone()[0])

    def checkpoint(self) -> None:
        """Move SQLite's log into the file, so that the log's room is used again."""
        try:
            self.writer.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.OperationalError as error:
            log.debug("%s: the log was not moved into the file: %s", self.path, error)
