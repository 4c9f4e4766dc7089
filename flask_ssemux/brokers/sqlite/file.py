"""One open database file: its connections, its transactions, and the life that it tells of. Its parts hold the SQL."""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence, TypeVar

from .. import base
from ..base import History, log
from .applications import Applications
from .connection import close_to_others, connect, find_place, may_be_full, measure_size, run_patiently
from .events import Events
from .leap import Voids, prepare_leap
from .limits import Limits
from .places import Places
from .presence import Presence
from .reading import Reading
from .reserve import PAGE, Reserve
from .schema import NEWEST, prepare_tables
from .trimming import Trimming

#: Seconds between two looks at whether the file is still the one that is open.
FILE_CHECK = 1.0

#: Pages that an event takes besides its body's, at most: of tables and indexes.
PAGES = 16

T = TypeVar("T")


class Known(NamedTuple):
    """What a broker knows of the file that it had open before.

    :param place: its device and inode.
    :param epoch: the life of its history.
    :param sequence: the newest number that was seen in it.
    """

    place: tuple[int, int] | None = None
    epoch: str = ""
    sequence: int = 0


class File:
    """One open database file. Used with the broker's lock held.

    :param deadline: until when it may wait for others.
    :param reserve: beside it; it stays open.
    :param was: the file that was open before.
    :param voids: the broker's.
    """

    def __init__(self, reserve: Reserve, history: History | None, deadline: float, was: Known, voids: Voids) -> None:
        self.path = reserve.path
        self.deadline = deadline
        self.voids = voids
        self.reserve = reserve
        self._connections: list[sqlite3.Connection] = []
        self._is_resting, self._is_connected = False, True
        try:
            self._open(history, was)
        except BaseException:
            self.close()
            raise

    def _open(self, history: History | None, was: Known) -> None:
        is_alone = self.reserve.lock_alone()
        if not is_alone:
            self.reserve.share(self.deadline)
        self.place = find_place(self.path)
        is_crashed = measure_size(self.path + "-wal") > 0
        self._writer, self._reader = self._connect(), self._connect()
        self.limits, self.trimming, self.events, self.past = Limits(self), Trimming(self), Events(self), Reading(self)
        self.places, self.presence, self.applications = Places(self), Presence(self), Applications(self)
        self._prepare(history, is_crashed, is_alone, was)
        close_to_others(self.path)  # not before it is known that the file is ours
        self.reserve.share(self.deadline)
        self.reserve.restore()
        self._checked_at = time.monotonic()

    def _connect(self) -> sqlite3.Connection:
        made = connect(self.path, self.deadline)
        self._connections.append(made)
        made.execute("PRAGMA wal_autocheckpoint = %d" % self.reserve.checkpoint)
        return made

    def close(self) -> None:
        for connection in reversed(self._connections):
            connection.close()  # the last one to close moves the log into the file

    @property
    def known(self) -> Known:
        return Known(self.place, self.epoch, self.events.newest)

    def begin_rest(self) -> None:
        """Close it for a fork, while its user waits for others; their statement is tried again until the rest ends."""
        self._is_resting, self._is_connected = True, False
        self.close()

    def end_rest(self) -> None:
        """The fork is over: whoever goes on connects anew."""
        self._is_resting = False

    def _find_writer(self) -> sqlite3.Connection:
        self._reconnect()
        return self._writer

    def _find_reader(self) -> sqlite3.Connection:
        self._reconnect()
        return self._reader

    def _reconnect(self) -> None:
        if self._is_connected:
            return
        if self._is_resting:
            raise sqlite3.OperationalError("busy: this process is being forked")
        self._connections.clear()
        self._writer, self._reader = self._connect(), self._connect()
        self._is_connected = True

    def is_in_place(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at < FILE_CHECK:
            return True
        self._checked_at = now
        return find_place(self.path) == self.place

    # -- transactions ------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        run_patiently(self._find_writer, self.deadline, "BEGIN IMMEDIATE")
        try:
            yield
            run_patiently(self._find_writer, self.deadline, "COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All statements within see the store as of one moment."""
        run_patiently(self._find_reader, self.deadline, "BEGIN")
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
        return run_patiently(self._find_reader, self.deadline, statement, values)

    # -- room on the disk ----------------------------------------------------

    def change(self, statements: Callable[[], T], size: int = 0) -> T:
        """Run statements in one transaction; on a full disk once more, with the room that is kept for it.

        :param size: bytes that they add, about.
        """
        try:
            return self._change(statements, size)
        except sqlite3.OperationalError as error:
            if not may_be_full(error):
                raise
        self.reserve.release()
        self.checkpoint()
        return self._change(statements, size)

    def _change(self, statements: Callable[[], T], size: int) -> T:
        if size and not self.reserve.is_whole and not self.reserve.restore():
            self._use_free_pages(size)
        with self.writing():
            return statements()

    def _use_free_pages(self, size: int) -> None:
        """The file must not grow into the room that is needed to delete from it."""
        if not self.trimming.free_pages(size // PAGE + PAGES):
            raise sqlite3.OperationalError(
                "database or disk is full, and no event is over a limit of the history; make room on the disk, or "
                "lower SSEMUX_HISTORY_BYTES=%d or SSEMUX_HISTORY_SECONDS=%g" % (self.history.size, self.history.seconds)
            )

    def free_pages(self) -> int:
        """Pages of the file that hold nothing."""
        return int(self._writer.execute("PRAGMA freelist_count").fetchone()[0])

    def checkpoint(self) -> None:
        """Move SQLite's log into the file, so that the log's room is used again."""
        try:
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)")
        except sqlite3.OperationalError as error:
            log.debug("%s: the log was not moved into the file: %s", self.path, error)

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
            "bytes": measure_size(self.path) + measure_size(self.path + "-wal"),
        }

    def _prepare(self, history: History | None, is_crashed: bool, is_alone: bool, was: Known) -> None:
        with self.writing():
            is_new = prepare_tables(self._writer, history or History(), base.boot_id())
            self.history = self._take_history(history)
            self.epoch: str = self._find_epoch(is_crashed, is_alone and not is_new, was)
            self.limits.check_clock()
            if is_alone and self.write("SELECT recount FROM life").fetchone()[0]:
                self.write("UPDATE life SET recount = recount - 1")
                self._set_total(self.limits.sum_up(is_anew=True))
        self.leap = self.voids.load(self)
        self.events.head()

    def _find_epoch(self, is_crashed: bool, may_be_a_copy: bool, was: Known) -> str:
        """The life of the history: as it was, unless numbers would be given twice in it."""
        boot = base.boot_id()
        epoch, last_boot = self.write("SELECT epoch, boot FROM life").fetchone()
        (newest,) = self.write(NEWEST).fetchone()
        is_lost = (last_boot != boot and is_crashed) or self._is_older(epoch, newest or 0, was)
        is_same = (was.place, was.epoch) == (self.place, epoch)
        if is_lost or (may_be_a_copy and not is_same and not prepare_leap(self)):
            epoch = base.new_epoch()
        self.write("UPDATE life SET epoch = ?, boot = ? WHERE (epoch, boot) != (?, ?)", (epoch, boot) * 2)
        return str(epoch)

    def _is_older(self, epoch: str, newest: int, was: Known) -> bool:
        """Whether this is a copy of older days of the file that was open before: its numbers would come twice."""
        return epoch == was.epoch and (was.place != self.place or newest < was.sequence)

    def _take_history(self, history: History | None) -> History:
        """The limits as the application says them; for a publisher, as it said them last."""
        kept = History(*self.write("SELECT seconds, events, size FROM life").fetchone())
        if history is None or history == kept:
            return kept
        self.write("UPDATE life SET seconds = ?, events = ?, size = ?", history)
        self.history = history
        (newest,), (floor,) = self.write(NEWEST).fetchone(), self.write("SELECT floor FROM life").fetchone()
        total = self.limits.sum_up()
        if total > history.size:
            self._set_total(self.limits.raise_floor_of_store(total, floor, newest - 1))
        return history

    def _set_total(self, total: int) -> None:
        self.write("UPDATE events SET total = ? WHERE sequence = (%s)" % NEWEST, (total,))
