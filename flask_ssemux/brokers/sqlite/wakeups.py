"""Wakes the other processes that use the same file: each listens on a datagram socket in a folder beside the file.

An event of another process is found in the file; a datagram only says that it is time to look. Without sockets, or
where they cannot be made, a process looks at short intervals. No SQL and no events.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from typing import Callable, Iterator

from ...util import forks
from ...util.supervise import attempt
from ..names import make_random_name
from .connection import is_root

log = logging.getLogger("flask_ssemux")

#: The folder of the sockets: this after the name of the file.
SUFFIX = "-wake"

#: The longest path of a socket, in bytes: ``sun_path`` of Linux has 108, that of macOS and BSD 104, with a final NUL.
MAX_PATH = 103

#: Where a folder that is open has a short path; only Linux has it.
OPEN_FILES = "/proc/self/fd"

#: Nanoseconds within which a folder may change twice without a new time of change: two ticks of a slow kernel.
CLOCK_GRAIN = 20_000_000


class Wakeups:
    """The sockets of all processes that use one file, as one of these processes sees them.

    :param path: of the SQLite file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = os.path.realpath(path) + SUFFIX
        self._name = ""
        self._receiver: socket.socket | None = None
        self._wake_this: Callable[[], None] = lambda: None
        self._sender: socket.socket | None = None
        #: The folder as it was when listed, None if it may have changed since; and the sockets in it. One object,
        #: since several threads publish.
        self._listed: tuple[tuple[int, int] | None, list[str]] = (None, [])

    @property
    def is_listening(self) -> bool:
        """Whether other processes wake this one."""
        return self._receiver is not None

    # -- other processes are woken -----------------------------------------

    def wake_others(self) -> None:
        """Let every other process look at the file. It takes some microseconds, waits for nothing and never raises."""
        with contextlib.suppress(OSError):  # there is no folder: nobody listens
            for name in self._list_sockets():
                if name != self._name:
                    self._wake(name)

    def _list_sockets(self) -> list[str]:
        found = os.stat(self._folder)
        folder, names = self._listed
        if folder != (found.st_ino, found.st_mtime_ns):
            names = os.listdir(self._folder)
            is_settled = time.time_ns() - found.st_mtime_ns > CLOCK_GRAIN
            self._listed = ((found.st_ino, found.st_mtime_ns) if is_settled else None, names)
        return names

    def _wake(self, name: str) -> None:
        if self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        try:
            with self._address_of(name) as address:
                self._sender.sendto(b"!", address)
        except ConnectionRefusedError:  # its process has ended without removing it
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, name))
        except OSError:
            pass  # its queue is full, so it is awake; or it has just been removed

    # -- this process is woken ---------------------------------------------

    def listen(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` in a thread of its own when another process asks for it; if that is impossible, do nothing."""
        try:
            self._bind()
        except (OSError, AttributeError) as error:  # Windows has no AF_UNIX in Python
            log.info("this process looks for new events in %s at short intervals: %s", self._path, error)
            return
        self._wake_this = wake
        arguments = (self._receiver, wake, forks.generation)
        threading.Thread(target=self._receive, args=arguments, name="ssemux-wake", daemon=True).start()

    def listen_again(self) -> None:
        """Listen at a new socket if somebody has removed this process's, for example with the store's whole folder."""
        if self._receiver is not None and not os.path.exists(os.path.join(self._folder, self._name)):
            self._stop_listening()
            self.listen(self._wake_this)

    def _bind(self) -> None:
        name = "%d-%s" % (os.getpid(), make_random_name())
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._folder)
            self._share_folder()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            with self._address_of(name) as address:
                made.bind(address)
            os.chmod(os.path.join(self._folder, name), 0o666)  # who may reach it is up to the folder
        except BaseException:
            made.close()
            raise
        self._name, self._receiver = name, made

    @contextlib.contextmanager
    def _address_of(self, name: str) -> Iterator[str]:
        """The address of a socket: its path, or a shorter one that is valid meanwhile."""
        path = os.path.join(self._folder, name)
        if len(os.fsencode(path)) <= MAX_PATH:
            yield path
            return
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            yield "%s/%d/%s" % (OPEN_FILES, folder, name)
        finally:
            os.close(folder)

    def _share_folder(self) -> None:
        """Let those who may write the file use the folder, too."""
        database = os.stat(self._path)
        with contextlib.suppress(OSError):  # we are not a member of the file's group
            # root gives it away, since the server may run as another user
            os.chown(self._folder, database.st_uid if is_root() else -1, database.st_gid)
        os.chmod(self._folder, _find_folder_mode(database.st_mode))

    def _receive(self, receiver: socket.socket, wake: Callable[[], None], born: int) -> None:
        while True:
            try:
                asked = receiver.recv(16)
            except OSError:
                asked = b""
            forks.halt_copy(born)
            if not asked:  # it was closed
                if self._receiver is receiver:
                    self._receiver = None
                return
            attempt("the SQLite broker could not be woken", wake)

    # ----------------------------------------------------------------------

    def close(self) -> None:
        """Remove this process's socket."""
        self._stop_listening()
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def __del__(self) -> None:
        """A broker that only publishes is often not closed."""
        if self._sender is not None:
            self._sender.close()

    def _stop_listening(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, self._name))
            with contextlib.suppress(OSError):
                receiver.shutdown(socket.SHUT_RDWR)  # wakes the thread
            receiver.close()

    def disown(self) -> None:
        """In a forked child: the sockets are the parent's."""
        for inherited in (self._receiver, self._sender):
            if inherited is not None:
                forks.replace_file(inherited.fileno())
        self._receiver = self._sender = None


def _find_folder_mode(mode: int) -> int:
    """Return the mode of the folder: whoever may write the file may look for sockets beside it, and add one."""
    return sum(0o7 << shift for shift in (6, 3, 0) if mode >> shift & 0o2) | 0o700
