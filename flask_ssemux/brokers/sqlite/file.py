"""A database that holds a store: it is opened, its tables and its epoch are prepared, and a full disk is dealt with.

The statements about events are in ``events``, ``reading``, ``floors``, ``trimming`` and ``leap``.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Callable, NamedTuple, TypeVar

from .. import names
from ..records import HistoryLimits
from .connection import close_to_others, identify_file, may_be_full, measure_size
from .database import Database
from .events import Events
from .floors import HistoryFloors
from .leap import Voids, prepare_leap
from .reading import Reading
from .reserve import PAGE, Reserve
from .schema import NEWEST, prepare_tables
from .trimming import Trimming

#: Seconds between two checks that the path still names the file that is open.
FILE_CHECK = 1.0

#: The maximum number of pages that an event takes besides its body's: of tables and indexes.
PAGES = 16

T = TypeVar("T")


class Known(NamedTuple):
    """What a broker knows of the file that it had open before.

    :param identity: its device and inode.
    :param epoch: the epoch of its history.
    :param sequence: the newest sequence that was seen in it.
    """

    identity: tuple[int, int] | None = None
    epoch: str = ""
    sequence: int = 0


class StoreFile(Database):
    """A database with its tables and the parts that use them. Every method is called with the broker's lock held.

    :param limits: how much is kept; None keeps what the file says.
    :param before: the file that was open before.
    :param voids: the broker's; they outlive the file.
    """

    def __init__(
        self, reserve: Reserve, limits: HistoryLimits | None, deadline: float, before: Known, voids: Voids
    ) -> None:
        super().__init__(reserve, deadline)
        try:
            self._open(limits, before, voids)
        except BaseException:
            self.close()
            raise

    def _open(self, limits: HistoryLimits | None, before: Known, voids: Voids) -> None:
        is_alone = self.reserve.lock_alone()
        if not is_alone:
            self.reserve.share(self.deadline)
        self.identity = identify_file(self.path)
        is_crashed = measure_size(self.path + "-wal") > 0
        self.open_connections()
        self.floors = HistoryFloors(self)
        self.trimming = Trimming(self, self.floors)
        self.events, self.past = Events(self, self.floors, voids), Reading(self, self.floors)
        self._prepare(limits, is_crashed, is_alone, before)
        self.leap = voids.load(self)
        self.events.get_newest_cursor()
        close_to_others(self.path)  # not before: until now it might have been another program's file
        self.reserve.share(self.deadline)
        self.reserve.restore()
        self._checked_at = time.monotonic()

    @property
    def known(self) -> Known:
        return Known(self.identity, self.epoch, self.events.newest)

    def is_in_place(self) -> bool:
        """Return whether the path names the file that is open, and nobody has taken events from it that had their
        sequence; checked every ``FILE_CHECK`` seconds."""
        now = time.monotonic()
        if now - self._checked_at < FILE_CHECK:
            return True
        self._checked_at = now
        return identify_file(self.path) == self.identity and not self.events.are_taken_back()

    # -- room on the disk --------------------------------------------------

    def change(self, statements: Callable[[], T], size: int = 0) -> T:
        """Run statements in one transaction; on a full disk once more, with the room of the reserve.

        :param size: about how many bytes they add.
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
        """Make room within the file: it must not grow into the room that deleting from it needs."""
        if not self.trimming.free_pages(size // PAGE + PAGES):
            raise sqlite3.OperationalError(
                "database or disk is full, and no event is over a limit of the history; make room on the disk, or "
                "lower SSEMUX_HISTORY_BYTES=%d or SSEMUX_HISTORY_SECONDS=%g" % (self.limits.size, self.limits.seconds)
            )

    # -- preparing ---------------------------------------------------------

    def _prepare(self, limits: HistoryLimits | None, is_crashed: bool, is_alone: bool, before: Known) -> None:
        with self.writing():
            is_new = prepare_tables(self.writer, limits or HistoryLimits(), names.read_boot_id())
            self.limits = self._take_limits(limits)
            self.epoch = self._find_epoch(is_crashed, is_alone and not is_new, before)
            self.floors.check_clock()
            if is_alone and self.write("SELECT recount FROM life").fetchone()[0]:
                self.write("UPDATE life SET recount = recount - 1")
                self._set_total(self.floors.sum_up(is_anew=True))

    def _find_epoch(self, is_crashed: bool, may_be_a_copy: bool, before: Known) -> str:
        """Return the epoch: the one in the file, unless sequences would be given twice in it."""
        boot = names.read_boot_id()
        epoch, last_boot = self.write("SELECT epoch, boot FROM life").fetchone()
        (newest,) = self.write(NEWEST).fetchone()
        is_lost = (last_boot != boot and is_crashed) or self._is_older(epoch, newest or 0, before)
        is_same = (before.identity, before.epoch) == (self.identity, epoch)
        if is_lost or (may_be_a_copy and not is_same and not prepare_leap(self)):
            epoch = names.make_random_name()
        self.write("UPDATE life SET epoch = ?, boot = ? WHERE (epoch, boot) != (?, ?)", (epoch, boot) * 2)
        return str(epoch)

    def _is_older(self, epoch: str, newest: int, before: Known) -> bool:
        """Return whether this is an older copy of the file that was open before: its sequences would be given twice."""
        return epoch == before.epoch and (before.identity != self.identity or newest < before.sequence)

    def _take_limits(self, limits: HistoryLimits | None) -> HistoryLimits:
        """Return the limits: those of the application; for a publisher, those that the application wrote last."""
        kept = HistoryLimits(*self.write("SELECT seconds, events, size FROM life").fetchone())
        if limits is None or limits == kept:
            return kept
        self.write("UPDATE life SET seconds = ?, events = ?, size = ?", limits)
        self.limits = limits
        (newest,), (floor,) = self.write(NEWEST).fetchone(), self.write("SELECT floor FROM life").fetchone()
        total = self.floors.sum_up()
        if total > limits.size:
            self._set_total(self.floors.raise_floor_of_store(total, floor, newest - 1))
        return limits

    def _set_total(self, total: int) -> None:
        self.write("UPDATE events SET total = ? WHERE sequence = (%s)" % NEWEST, (total,))
