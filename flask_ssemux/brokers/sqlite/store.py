"""The store that the parts of the SQLite broker share: the one lock, the file that is open, and forks. No SQL."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import Callable, Iterator, TypeVar

from ...errors import BrokerClosed, BrokerUnavailable
from ...util import threads
from ..contract import constants
from ..records import HistoryLimits
from .connection import is_busy, is_full, mark_inherited, may_be_full
from .file import Known, StoreFile
from .leap import Voids
from .obstacle import Place
from .reserve import Reserve
from .view import StoreView

log = logging.getLogger("flask_ssemux")

T = TypeVar("T")

#: Seconds that a fork waits for another thread that uses the file. Under gevent it does not wait.
FORK_WAIT = 0.1

#: Files that a child inherited while they were in use. They are never closed: to close one would run its statements.
_inherited: list[StoreFile] = []


class SQLiteStore:
    """Opens the file when it is needed, and lets one caller at a time use it.

    :param path: the file; its folder is made when it is first opened.
    :param limits: how much is kept; None keeps what the file says.
    :param is_look: only read, and make and change no file.
    """

    def __init__(self, path: str, limits: HistoryLimits | None, is_look: bool = False) -> None:
        self.path = path
        self.is_look = is_look
        self.voids = Voids()
        self.is_closed = False
        self.file: StoreFile | None = None
        self._limits = limits
        self._lock = threading.Lock()
        self._before = Known()
        self._reserve: Reserve | None = None
        self._is_resting = self._is_disturbed = False

    @contextmanager
    def opened(self) -> Iterator[StoreFile]:
        """The open file, with the lock held.

        :raises BrokerUnavailable: for any error of the driver, or when ``WAIT_SECONDS`` are over.
        """
        deadline = time.monotonic() + constants.WAIT_SECONDS
        if not self._lock.acquire(timeout=constants.WAIT_SECONDS):
            raise BrokerUnavailable("the SQLite store %s: busy for %g s" % (self.path, constants.WAIT_SECONDS))
        try:
            if self.is_closed:
                raise BrokerClosed("the broker on %s is closed" % self.path)
            try:
                yield self._open_file(deadline)
            except (sqlite3.Error, OSError) as error:
                if not is_busy(error) and not is_full(error):  # then the file is fine
                    self._forget_file()
                reason = str(error) if is_busy(error) else Place(self.path, self.is_look).explain_error(error)
                raise BrokerUnavailable("the SQLite store %s: %s" % (self.path, reason)) from error
        finally:
            self._lock.release()

    def change_quietly(self, change: Callable[[StoreFile], T], apply: Callable[[T], None] = lambda _: None) -> None:
        """Make a change that may be left out: what fails is logged for debugging.

        :param apply: called with what ``change`` returned, once that is written, and before anyone else uses the file.
        """
        try:
            with self.opened() as file:
                apply(file.change(lambda: change(file)))
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("leases or reports were not written: %s", error)

    def close(self) -> None:
        self.is_closed = True
        with self._lock:
            self._forget_file()

    def _open_file(self, deadline: float) -> StoreFile:
        if self.file is not None:
            self.file.deadline = deadline
            self._forget_other_file(self.file)
        if self.file is None:
            try:
                self.file = self._open(deadline)
            except BaseException:
                self._forget_file()
                raise
        return self.file

    def _forget_other_file(self, file: StoreFile) -> None:
        """Close a file that was replaced, or from which another program has deleted events."""
        if not file.is_in_place():
            if not self.is_look:
                log.warning("%s was replaced, removed or emptied: its history begins anew", self.path)
            self._forget_file()

    def _open(self, deadline: float) -> StoreFile:
        if self.is_look:
            return StoreView(os.path.realpath(self.path), deadline, self.voids)
        if self._reserve is None:
            # SQLite puts its other files beside the file that a link names.
            self._reserve = Reserve(os.path.realpath(self.path))
        file = partial(StoreFile, self._reserve, self._limits, deadline, self._before, self.voids)
        try:
            return file()
        except sqlite3.OperationalError as error:
            if not may_be_full(error):
                raise
        self._reserve.release()
        return file()

    def _forget_file(self) -> None:
        self._close_file()
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def _close_file(self) -> None:
        if self.file is not None:
            self._before = self.file.known
            self.file.close()
            self.file = None

    # -- forks: SQLite's locks are the process's, and a child that inherits a connection has them in name only --------

    def prepare_fork(self) -> None:
        """Close the file, and keep others from opening it until the fork is over."""
        if threads.may_use_loop():
            self._rest()
            return
        try:
            threads.call_in_loop(self._rest, FORK_WAIT, constants.WAIT_SECONDS, waits=False)
        except (threads.CallNotBegun, threads.CallNotEnded):
            pass  # the child is refused the file

    def _rest(self) -> None:
        if threads.acquire_soon(self._lock, FORK_WAIT):
            self._is_resting = True
            self._close_file()
        elif threads.runs_greenlets() and self.file is not None:
            self._is_disturbed = True
            self.file.begin_rest()  # the lock's holder waits for other processes: it runs no statement now

    def finish_fork(self) -> None:
        """Let the parent go on."""
        threads.call_soon(self._go_on)

    def _go_on(self) -> None:
        was_resting, self._is_resting = self._is_resting, False
        was_disturbed, self._is_disturbed = self._is_disturbed, False
        if was_resting:
            self._lock.release()
        elif was_disturbed and self.file is not None:
            self.file.end_rest()

    def disown(self) -> None:
        """In a child: close the file if no thread of the parent was using it."""
        self.is_closed = True
        is_open = self.file is not None and not self._is_disturbed
        if is_open and threads.may_use_loop() and threads.try_acquire(self._lock):
            self._close_file()  # it was not in use: as in uWSGI's master
        elif is_open and self.file is not None:
            _inherited.append(self.file)
            mark_inherited(self.file.identity)
