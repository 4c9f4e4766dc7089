"""A file beside the database: room that is given back when the disk is full, and the lock that tells who is alone.

Deleting needs room too, for SQLite's log. The lock is one on a file of its own since SQLite's locks end when a process
closes any descriptor of the database. No SQL.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from ...util import forks
from .connection import create_file

#: Bytes that are kept, and the part of a small disk.
SIZE = 8 * 1024 * 1024
PART = 8

#: Pages of the log after which SQLite moves it into the file, at most; and the bytes of a page.
CHECKPOINT = 1000
PAGE = 4096


class Reserve:
    """Open as long as the database is.

    It stays open when the database is closed for a fork, so that the child sees that it is not alone.

    :param path: of the database, which is made if there is none.
    """

    def __init__(self, path: str) -> None:
        mode = create_file(path)
        self.path = path
        self._has_lock = False
        self._descriptor = os.open(path + "-reserve", os.O_RDWR | os.O_CREAT, mode)
        self._share_as(mode)
        disk = os.statvfs(path)
        self.size = min(SIZE, disk.f_frsize * disk.f_blocks // PART or SIZE)
        #: While the log is moved into the file, the file may grow by the log's pages; twice that must be there.
        self.checkpoint = max(16, min(CHECKPOINT, self.size // PAGE // 2))

    def close(self) -> None:
        os.close(self._descriptor)

    def _share_as(self, mode: int) -> None:
        """As SQLite does with its files: whoever may use the database may use them, whatever the umask is."""
        try:
            if stat.S_IMODE(os.fstat(self._descriptor).st_mode) != mode:
                os.fchmod(self._descriptor, mode)
        except OSError:  # it belongs to another user
            pass

    # -- who is alone --------------------------------------------------------

    def lock_alone(self) -> bool:
        """Whether no other process has the database open, nor this one had it; then all others wait in ``share``."""
        return not self._has_lock and self._lock(fcntl.LOCK_EX)

    def share(self, deadline: float) -> None:
        """Be one of those that have it open; a process that was alone is no longer."""
        pause, self._has_lock = 0.001, True
        while not self._lock(fcntl.LOCK_SH) and time.monotonic() < deadline:
            forks.sleep(pause)
            pause = min(pause * 2, 0.02)

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            return True
        return True

    # -- room ----------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        """Whether the room is there; another process may have given it back."""
        return os.fstat(self._descriptor).st_size >= self.size

    def release(self) -> None:
        """Give the room back."""
        os.ftruncate(self._descriptor, 0)

    def restore(self) -> bool:
        """Take the room again, if there is twice as much; whether it is there."""
        if not self.is_whole and self._has_room():
            try:
                self._allocate()
            except OSError:
                self.release()
        return self.is_whole

    def _has_room(self) -> bool:
        disk = os.fstatvfs(self._descriptor)
        return disk.f_bavail * disk.f_frsize >= 2 * self.size

    def _allocate(self) -> None:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._descriptor, 0, self.size)
        else:
            os.pwrite(self._descriptor, bytes(self.size), 0)
