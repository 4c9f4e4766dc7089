"""A file beside the database: it reserves room for a full disk, and its lock shows whether a process is alone.

Deleting events needs room too, for SQLite's log. The lock is on a file of its own because a process loses SQLite's
locks when it closes any descriptor of the database. No SQL.
"""

from __future__ import annotations

import os
import shutil
import stat
import time

from ...util import forks
from .connection import create_file, give_to_owner

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Bytes that are reserved; on a small disk, this part of it.
SIZE = 8 * 1024 * 1024
PART = 8

#: The maximum number of pages in the log before SQLite moves it into the file; and the bytes of a page.
CHECKPOINT = 1000
PAGE = 4096


class Reserve:
    """It is open as long as the database is, and also while the database is closed for a fork: so the child knows that
    it is not alone.

    :param path: of the database, which is made if there is none.
    """

    def __init__(self, path: str) -> None:
        database = create_file(path)
        self.path = path
        self._has_lock = False
        self._descriptor = os.open(path + "-reserve", os.O_RDWR | os.O_CREAT, stat.S_IMODE(database.st_mode))
        self._share_as(database)
        self.size = min(SIZE, shutil.disk_usage(path).total // PART or SIZE)
        #: While the log is moved into the file, the file may grow by the log's pages: the room is for twice as many.
        self.checkpoint = max(16, min(CHECKPOINT, self.size // PAGE // 2))

    def close(self) -> None:
        os.close(self._descriptor)

    def _share_as(self, database: os.stat_result) -> None:
        """Give the file the owner and the mode of the database, as SQLite does with its own files."""
        give_to_owner(self._descriptor, database)
        mode = stat.S_IMODE(database.st_mode)
        try:
            if hasattr(os, "fchmod") and stat.S_IMODE(os.fstat(self._descriptor).st_mode) != mode:
                os.fchmod(self._descriptor, mode)
        except OSError:  # it belongs to another user
            pass

    # -- whether a process is alone ------------------------------------------

    def lock_alone(self) -> bool:
        """Take the exclusive lock, unless this process has already shared it.

        :return: whether it was taken: then no other process has the database open, and others wait in ``share``.
        """
        return not self._has_lock and self._lock("LOCK_EX")

    def share(self, deadline: float) -> None:
        """Become one of the processes that have it open; a process that was alone no longer is."""
        pause, self._has_lock = 0.001, True
        while not self._lock("LOCK_SH") and time.monotonic() < deadline:
            forks.sleep(pause)
            pause = min(pause * 2, 0.02)

    def _lock(self, kind: str) -> bool:
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._descriptor, getattr(fcntl, kind) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True

    # -- room ----------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether the room is reserved; another process may have released it."""
        return os.fstat(self._descriptor).st_size >= self.size

    def release(self) -> None:
        """Release the room, so that SQLite can use it."""
        os.ftruncate(self._descriptor, 0)

    def restore(self) -> bool:
        """Reserve the room again, if the disk has twice as much; return whether it is reserved."""
        if not self.is_whole and self._has_room():
            try:
                self._allocate()
            except OSError:
                self.release()
        return self.is_whole

    def _has_room(self) -> bool:
        return shutil.disk_usage(self.path).free >= 2 * self.size

    def _allocate(self) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._descriptor, 0, self.size)
        else:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, bytes(self.size))
