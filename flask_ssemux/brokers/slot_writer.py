"""Writes how many user slots a process has, for engines whose store is reached over a network.

The end of a stream does not wait for the store: a thread (or greenlet) writes what has changed, several keys together.
How a number is written is the engine's.
"""

from __future__ import annotations

import threading
from typing import Callable, Iterable

from ..util import forks
from .contract.user_slots import UserSlots


class SlotWriter:
    """
    :param slots: of the process. Their lock guards this object too.
    :param write: writes the numbers of these keys. It never raises.
    """

    def __init__(self, slots: UserSlots, write: Callable[[Iterable[str]], None]) -> None:
        self._slots = slots
        self._write = write
        #: The keys whose numbers have yet to be written.
        self.waiting: set[str] = set()
        #: Whether nothing is to be written, and no thread runs.
        self.is_idle = True

    def release_slot(self, key: str) -> None:
        """Count one slot less, and write it soon if the store knows of it. Returns at once."""
        slots = self._slots
        with slots.lock:
            if not slots.taken.get(key):
                return
            is_written = slots.is_written(key)
            slots.change(key, -1)
        if is_written:
            self.write_soon(key)

    def write_soon(self, key: str) -> None:
        """Write the number of this key. Returns at once."""
        with self._slots.lock:
            self.waiting.add(key)
            must_start, self.is_idle = self.is_idle, False
        try:
            if must_start:
                threading.Thread(target=self._run, name="ssemux-leases", daemon=True).start()
        except RuntimeError:  # the interpreter ends: all slots are given back
            self.is_idle = True

    def _run(self) -> None:
        born = forks.generation
        while True:
            forks.halt_copy(born)
            with self._slots.lock:
                keys, self.waiting = list(self.waiting), set()
                self.is_idle = not keys
            if not keys:
                return
            self._write(keys)
