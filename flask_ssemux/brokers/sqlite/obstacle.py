"""Finds out why a file cannot be a store: who owns it, which user may not use it, and which command mends it.

It only looks at names, owners and modes. The database is not opened: to close it would end SQLite's locks of this
process. No SQL.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from itertools import chain
from typing import Iterator, NamedTuple

from .connection import SUFFIXES

#: Bytes that a new store takes, without the reserve.
NEEDED = 256 * 1024

#: Folders with fewer parts in their path than this, such as /var/lib, are the system's, and keep their owner.
SHARED_DEPTH = 3

#: What SQLite says of a file that it cannot use, and what that means.
_DAMAGES = {"not a database": "not an SQLite database", "malformed": "damaged"}

#: The error of a command that only reads, if there is nothing to read.
NO_STORE = "there is no store yet: the first stream or event makes it"

#: What is in an error that the broker itself raised, with the limits that may be lowered.
SPEAKS_FOR_ITSELF = "is full, and no event"


class Obstacle(NamedTuple):
    """Something that keeps a user from using the store.

    :param said: what it is, with the owner and the mode of the file or folder, and who the user is.
    :param mend: what to do: a command, or another path.
    """

    said: str
    mend: str

    def __str__(self) -> str:
        return "%s; %s" % self


class Place:
    """Where a store is or will be, as a user sees it.

    :param path: the database. It need not exist.
    :param reads_only: whether the user will only read.
    :param user: the user's number; None is the user of this process.
    """

    def __init__(self, path: str, reads_only: bool = False, user: int | None = None) -> None:
        self.path = os.path.realpath(path)
        self.folder = os.path.dirname(self.path)
        self._reads_only = reads_only
        self._user = get_user() if user is None else user
        self._is_own = self._user == get_user()
        self._name = describe_user(self._user)
        self._who = "%s, the user of %s" % (self._name, "this process" if self._is_own else "the application")

    def find_obstacle(self) -> Obstacle | None:
        """Return why the user cannot use the store; None if there is no reason that can be seen."""
        checks = [self._check_folder(), self._check_kind(), self._check_files()]
        if not self._reads_only:
            checks += [self._check_writing(), self._check_room()]
        return next(chain(*checks), None)

    def explain_error(self, error: Exception) -> str:
        """Return the text of an error of SQLite or of the system, with its cause and the mend if they can be found."""
        said = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        if SPEAKS_FOR_ITSELF in said:
            return said
        try:
            obstacle = self.find_obstacle() or self._find_damage(said)
            if said == NO_STORE:
                return str(obstacle or said)
            nearest = _find_nearest(self.path)
            return "%s: %s" % (said, obstacle or "%s, uses %s" % (self._who, describe_file(nearest)))
        except OSError:  # what there was has changed meanwhile
            return said

    # -- checks ------------------------------------------------------------

    def _check_folder(self) -> Iterator[Obstacle]:
        """Check that the folder exists, or can be made."""
        nearest = _find_nearest(self.folder)
        if not os.path.isdir(nearest):
            move = _make_move([nearest])
            said = "%s is not a folder (seen by %s)" % (describe_file(nearest), self._who)
            yield Obstacle(said, "name another file, or move it away: " + move)
        elif not self._may(nearest, os.X_OK):
            yield self._forbid("enter the folder", [nearest], "as root: chmod a+x %s" % shlex.quote(nearest))
        elif nearest != self.folder and not self._reads_only and not self._may(nearest, os.W_OK):
            yield from self._check_mount(nearest)
            mend = "as root: install -d -o %s %s" % (self._name, shlex.quote(self.folder))
            yield self._forbid("make the folder %s in" % self.folder, [nearest], mend)

    def _check_kind(self) -> Iterator[Obstacle]:
        if os.path.isdir(self.path):
            mend = "name a file in it: SSEMUX_BROKER=sqlite:///%s/ssemux.sqlite3" % self.path
            yield Obstacle("%s is a folder (seen by %s)" % (describe_file(self.path), self._who), mend)
        elif os.path.exists(self.path) and not os.path.isfile(self.path):
            said = "%s is not a file (seen by %s)" % (describe_file(self.path), self._who)
            yield Obstacle(said, "name another one in SSEMUX_BROKER")

    def _check_files(self) -> Iterator[Obstacle]:
        """Check that the user may use the files that exist."""
        mode = os.R_OK if self._reads_only else os.R_OK | os.W_OK
        files = [name for name in self._list_files() if not self._reads_only or not name.endswith("-reserve")]
        locked = [name for name in files if not self._may(name, mode)]
        if locked:
            yield from self._check_mount(self.folder)
            yield self._forbid("read" if self._reads_only else "read and write", locked, self._give(locked))

    def _check_writing(self) -> Iterator[Obstacle]:
        """Check that the user may make files in the folder: SQLite makes some beside the database, and removes them."""
        folder = self.folder
        if not os.path.isdir(folder) or self._may(folder, os.W_OK):
            return
        yield from self._check_mount(folder)
        mend = self._give([folder])
        if folder.count("/") < SHARED_DEPTH and os.stat(folder).st_uid != self._user:
            own = os.path.join(folder, "ssemux")
            mend = "as root: install -d -o %s %s, and SSEMUX_BROKER=sqlite:///%s/ssemux.sqlite3" % (
                self._name, own, own
            )  # fmt: skip
        yield self._forbid("make files in the folder", [folder], mend)

    def _check_mount(self, folder: str) -> Iterator[Obstacle]:
        """Check whether the file system is read-only."""
        if hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY:
            mount = _find_mount(folder)
            said = "%s, cannot write to %s: the file system %s is mounted read-only" % (
                self._who, describe_file(folder), mount
            )  # fmt: skip
            other = "put the file elsewhere, such as SSEMUX_BROKER=sqlite:////var/lib/ssemux/ssemux.sqlite3"
            yield Obstacle(said, "%s; or, as root: mount -o remount,rw %s" % (other, shlex.quote(mount)))

    def _check_room(self) -> Iterator[Obstacle]:
        """Check whether the disk has room for a new store."""
        nearest = _find_nearest(self.folder)
        usage = shutil.disk_usage(nearest)
        if usage.free < NEEDED:
            mount = _find_mount(nearest)
            said = "the file system %s is full: %d KB of %d MB are free for %s, in %s" % (
                mount, usage.free // 1024, usage.total // 1024**2, self._name, describe_file(nearest)
            )  # fmt: skip
            yield Obstacle(said, "make room; this lists what is large: du -xm %s | sort -n" % shlex.quote(mount))

    def _find_damage(self, said: str) -> Obstacle | None:
        """Return what SQLite found in the file itself."""
        what = next((what for mark, what in _DAMAGES.items() if mark in said), None)
        if what is None:
            return None
        described = "%s, of %d bytes, is %s (seen by %s)" % (
            describe_file(self.path), os.path.getsize(self.path), what, self._who
        )  # fmt: skip
        return Obstacle(described, "name another file, or move it away: " + _make_move(self._list_files()))

    # -- texts -------------------------------------------------------------

    def _forbid(self, what: str, names: list[str], mend: str) -> Obstacle:
        return Obstacle("%s, may not %s %s" % (self._who, what, describe_file(names[0])), mend)

    def _give(self, names: list[str]) -> str:
        """Return the command after which the user may use files, or a folder."""
        owner, listed = os.stat(names[0]).st_uid, " ".join(map(shlex.quote, names))
        if owner == self._user:
            return "chmod u+rwX %s" % listed
        mend = "as root: chown %s: %s" % (self._name, listed)
        return mend + "; or run this as %s" % describe_user(owner) if owner else mend

    def _list_files(self) -> list[str]:
        return [self.path + suffix for suffix in ("", *SUFFIXES) if os.path.exists(self.path + suffix)]

    def _may(self, path: str, mode: int) -> bool:
        if not self._is_own:
            return _allows(os.stat(path), self._user, mode)
        if os.access in os.supports_effective_ids:
            return os.access(path, mode, effective_ids=True)
        return os.access(path, mode)


def describe_user(user: int | None = None) -> str:
    """Return a user's name, or its number if it has no name; by default this process's user."""
    try:
        import pwd

        return pwd.getpwuid(get_user() if user is None else user).pw_name
    except ImportError:  # Windows
        return os.environ.get("USERNAME", "this user")
    except KeyError:
        return str(get_user() if user is None else user)


def describe_file(path: str) -> str:
    """Return a file or folder with its owner and its mode: ``/srv/x (owner root, mode 600)``."""
    found = os.stat(path)
    return "%s (owner %s, mode %o)" % (path, describe_user(found.st_uid), stat.S_IMODE(found.st_mode))


def get_user() -> int:
    return os.geteuid() if hasattr(os, "geteuid") else 0


def get_owner(path: str) -> int:
    """Return the number of the user who owns a file or, if it does not exist, the nearest folder."""
    return os.stat(_find_nearest(os.path.realpath(path))).st_uid


def _allows(found: os.stat_result, user: int, mode: int) -> bool:
    """Return whether a file's mode allows another user than this process's something."""
    if user == 0:
        return True
    if user == found.st_uid:
        return found.st_mode >> 6 & mode == mode
    return found.st_mode >> (3 if found.st_gid in _list_groups(user) else 0) & mode == mode


def _list_groups(user: int) -> list[int]:
    import pwd

    try:
        entry = pwd.getpwuid(user)
    except KeyError:
        return []
    return os.getgrouplist(entry.pw_name, entry.pw_gid)


def _find_nearest(path: str) -> str:
    """Return the path, or the nearest folder above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _find_mount(folder: str) -> str:
    while not os.path.ismount(folder):
        folder = os.path.dirname(folder)
    return folder


def _make_move(files: list[str]) -> str:
    return " && ".join("mv %s %s" % (shlex.quote(name), shlex.quote(name + ".old")) for name in files)
