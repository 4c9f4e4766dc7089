"""Which processes serve the streams of an application whose broker stays in one process.

A test's live server, for one, is forked from the process of the tests: what the tests publish then reaches nobody. So
the processes that come from one another share a page of memory, in which those that serve streams have their IDs. No
file is opened.
"""

from __future__ import annotations

import mmap
import os
import struct

from ..util import forks
from ..util.process_ids import exists_process

#: How many processes have room on the page. The memory broker is for one; more are a mistake.
ROOM = 16

_SLOT = struct.Struct("q")


class ServingProcesses:
    """The processes among this one, its parents and its children that serve streams."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, ROOM * _SLOT.size)
        #: The page as it was when this process, with that ID, found no other on it.
        self._searched: tuple[int, bytes] | None = None

    def note_own(self) -> None:
        """This process serves streams from now on."""
        for place in range(ROOM):
            if self._read(place) in (0, os.getpid()) or not _is_alive(self._read(place)):
                self._write(place, os.getpid())
                return

    def forget_own(self) -> None:
        """This process no longer serves streams."""
        for place in range(ROOM):
            if self._read(place) == os.getpid():
                self._write(place, 0)

    def find_other(self) -> int | None:
        """Return the ID of another process that serves streams; None if there is none."""
        page = self._page[:]
        if self._searched == (forks.process_id, page):  # this is asked for each event
            return None
        found = (self._read(place) for place in range(ROOM))
        other = next((pid for pid in found if pid not in (0, os.getpid()) and _is_alive(pid)), None)
        self._searched = None if other is not None else (forks.process_id, page)
        return other

    def _read(self, place: int) -> int:
        (pid,) = _SLOT.unpack_from(self._page, place * _SLOT.size)
        return int(pid)

    def _write(self, place: int, pid: int) -> None:
        _SLOT.pack_into(self._page, place * _SLOT.size, pid)


def _is_alive(pid: int) -> bool:
    return hasattr(os, "fork") and exists_process(pid)  # on Windows no process shares the page
