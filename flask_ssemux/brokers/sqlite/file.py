"""One open database file: its connections, its transactions, and the life that it tells of. Its parts hold the SQL."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import Any, Iterable, Iterator, Sequence

from .. import base
from ..base import History
from .applications import Applications
from .connection import connect, create_file, find_place, measure_size, run_patiently
from .events import Events
from .places import Places
from .presence import Presence
from .reading import Reading
from .schema import prepare_tables

#: Seconds between two looks at whether the file is still the one that is open.
FILE_CHECK = 1.0


class File:
    """One open database file. Used with the broker's lock held.

    :param deadline: until when it may wait for others.
    :param was: place and epoch of the file that was open before.
    """

    def __init__(self, path: str, history: History | None, deadline: float, was: tuple[Any, str]) -> None:
        self._path = path
        self.deadline = deadline
        create_file(path)
        crashed = measure_size(path + "-wal") > 0
        self._writer = connect(path, deadline)
        self._reader = connect(path, deadline)
        try:
            self.place = find_place(path)
            # Another file with the epoch that we know is a copy of older days: its numbers would come twice.
            copied = was[1] if was[0] != self.place else ""
            self._prepare(history or History(), history is not None, crashed, copied)
            self._checked_at = time.monotonic()
            self.events, self.past = Events(self), Reading(self)
            self.places, self.presence = Places(self), Presence(self)
            self.applications = Applications(self)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._reader.close()
        self._writer.close()  # the last one to close moves the log into the file

    def is_in_place(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at < FILE_CHECK:
            return True
        self._checked_at = now
        return find_place(self._path) == self.place

    # -- transactions ------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        run_patiently(self._writer, self.deadline, "BEGIN IMMEDIATE")
        try:
            yield
            run_patiently(self._writer, self.deadline, "COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All statements within see the store as of one moment."""
        run_patiently(self._reader, self.deadline, "BEGIN")
        try:
            yield
        finally:
            self._reader.execute("COMMIT")

    def write(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement of the transaction that ``writing`` opened."""
        return self._writer.execute(statement, values)

    def write_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._writer.executemany(statement, rows)

    def read(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement that only reads, in a transaction of ``reading`` or alone."""
        return run_patiently(self._reader, self.deadline, statement, values)

    # -- the file ----------------------------------------------------------

    def say_no_more(self, holder: str) -> None:
        self.places.release_all(holder)
        self.presence.forget(holder)
        self.applications.forget(holder)
        self.write("DELETE FROM reports WHERE holder = ?", (holder,))

    def figures(self) -> dict[str, object]:
        read = self._reader.execute
        return {
            "events": read("SELECT count(*) FROM events").fetchone()[0],
            "channels": read("SELECT count(*) FROM channels WHERE kept > 0").fetchone()[0],
            "held": read("SELECT coalesce(sum(places), 0) FROM holds WHERE until >= ?", (time.time(),)).fetchone()[0],
            "bytes": measure_size(self._path) + measure_size(self._path + "-wal"),
        }

    def _prepare(self, history: History, said: bool, crashed: bool, copied: str) -> None:
        boot = base.boot_id()
        with self.writing():
            prepare_tables(self._writer, history, boot)
            epoch, last_boot, *kept = self._writer.execute(
                "SELECT epoch, boot, seconds, events, size FROM life"
            ).fetchone()
            if (last_boot != boot and crashed) or epoch == copied:
                epoch = base.new_epoch()
            self._writer.execute("UPDATE life SET epoch = ?, boot = ?", (epoch, boot))
            if said and History(*kept) != history:
                self._writer.execute("UPDATE life SET seconds = ?, events = ?, size = ?", history)
        self.epoch: str = epoch
        self.history = history if said else History(*kept)
