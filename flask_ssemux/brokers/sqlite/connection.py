"""Connections to the file, and how a statement waits for other processes without blocking the worker. No table is
named here."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
from typing import Any, Callable, Sequence

from ...util import forks

log = logging.getLogger("flask_ssemux")

#: The files that belong to a database beside its own.
SUFFIXES = ("-wal", "-shm", "-reserve")


def create_file(path: str) -> os.stat_result:
    """Make an empty file, if there is none, that only its owner can read, since it holds events; return its state.

    What root makes belongs to the owner of the folder: most often a command of root comes before the server's first
    stream, and the server runs as another user.
    """
    folder = os.path.dirname(path) or "."
    _create_folder(os.path.abspath(folder))
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.stat(path)
    try:
        if is_root():
            give_to_owner(descriptor, os.stat(folder))
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _create_folder(folder: str) -> None:
    """Make a folder and those above it, if they do not exist."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    _create_folder(above)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise
    else:
        if is_root():
            os.chown(folder, os.stat(above).st_uid, os.stat(above).st_gid)


def is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def give_to_owner(descriptor: int, model: os.stat_result) -> None:
    """Give a file that is open the owner of another one, if this process is root's; otherwise its group, if it may."""
    own = os.fstat(descriptor)
    if not hasattr(os, "fchown") or (own.st_uid, own.st_gid) == (model.st_uid, model.st_gid):
        return
    try:
        os.fchown(descriptor, model.st_uid if is_root() else -1, model.st_gid)
    except OSError:  # this process's user is not in the group
        pass


def close_to_others(path: str) -> None:
    """Let only its owner use a database that everyone may read. One that is shared with its group stays shared."""
    for name in [path] + [path + suffix for suffix in SUFFIXES]:
        _close_file_to_others(name)


def _close_file_to_others(path: str) -> None:
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
        if mode & 0o007:
            os.chmod(path, 0o600)
    except FileNotFoundError:
        pass
    except OSError:
        log.warning(
            "%s has mode %o: every user of this machine can read its events. It belongs to another user, so its mode "
            "cannot be changed here; let its owner run: chmod 600 %s",
            path,
            mode,
            path,
        )


def open_connection(path: str, deadline: float) -> sqlite3.Connection:
    check_inheritance(path)
    # timeout=0: SQLite's own wait would block every greenlet of the worker; ``run_patiently`` waits in Python.
    made = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        run_patiently(lambda: made, deadline, "PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = NORMAL")
        # Debian's SQLite overwrites what is deleted: a delete would need as much room in the log as it frees.
        made.execute("PRAGMA secure_delete = FAST")
        made.execute("PRAGMA journal_size_limit = 16777216")
    except BaseException:
        made.close()
        raise
    return made


def run_patiently(
    connection: Callable[[], sqlite3.Connection], deadline: float, statement: str, values: Sequence[Any] = ()
) -> sqlite3.Cursor:
    """Run a statement that may find the store busy, until the deadline.

    :param connection: returns the connection, which may be another one after each wait.
    """
    pause = 0.0005
    while True:
        try:
            return connection().execute(statement, values)
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() + pause > deadline:
                raise
        forks.sleep(pause)
        pause = min(pause * 2, 0.02)


#: Files of which this process inherited a connection that it cannot close.
_inherited: set[tuple[int, int]] = set()


def mark_inherited(identity: tuple[int, int] | None) -> None:
    """Remember this file. SQLite counts a file's locks by process, and in this one it counts those of the parent."""
    if identity is not None:
        _inherited.add(identity)


def check_inheritance(path: str) -> None:
    """Refuse a file of which this process inherited a connection: its locks would have no effect.

    :raises sqlite3.OperationalError: it did.
    """
    if _inherited and identify_file(path) in _inherited:
        raise sqlite3.OperationalError(
            "this process was forked while another thread of its parent used the store, and SQLite's locks do not "
            "survive that; fork again, or publish from the parent"
        )


def is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def is_full(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and "is full" in str(error)


def may_be_full(error: Exception) -> bool:
    """Return whether the disk may be full: SQLite reports an exceeded quota as an input/output error."""
    return is_full(error) or (isinstance(error, sqlite3.OperationalError) and "disk I/O" in str(error))


def identify_file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def measure_size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
