"""The user slots of one process: how many it has under each key, and which of these numbers the store has.

A process that has a share of every key's slots takes the slots of its share without asking the store: all other
processes count the share as taken, until this process writes how many slots of a key it really has. From then on it has
no share of this key, and asks for each of its slots. So the limit is exact, although most users' slots are never
written. Numbers only: the engines ask and write.
"""

from __future__ import annotations

import threading
import time
from enum import Enum
from typing import Iterable

#: The part of the limit that one process may have as its share, and that all processes together may have.
SHARE, ALL_SHARES = 16, 2


class SlotAnswer(Enum):
    """Whether a slot was free."""

    TAKEN = "taken"
    #: All slots are taken.
    FULL = "full"
    #: A slot may be free: other processes have shares of the key, and did not write how many of its slots they took.
    SHARED = "shared"


class UserSlots:
    """What one process has taken. ``lock`` guards everything."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        #: How many slots this process has under each key.
        self.taken: dict[str, int] = {}
        #: How many slots it has in all.
        self.total = 0
        #: The keys whose number is in the store, if the process has a share of the others.
        self.written: set[str] = set()
        #: How many slots of every other key the process may take; 0 if it has no share.
        self.share = 0
        #: The limit of which it is a share; 0 if the process wants none.
        self.limit = 0
        self._valid_until = float("-inf")

    def take_of_share(self, key: str) -> bool:
        """Take a slot of the share; return whether there was one."""
        with self.lock:
            has_room = self.taken.get(key, 0) < self.share and key not in self.written
            if has_room and time.monotonic() < self._valid_until:
                self.change(key, 1)
                return True
            return False

    def change(self, key: str, more: int) -> None:
        """Count so many slots more; what was not taken is not released. With the lock held."""
        before = self.taken.get(key, 0)
        now = max(0, before + more)
        self.total += now - before
        if now:
            self.taken[key] = now
        else:
            self.taken.pop(key, None)

    def forget_all(self) -> None:
        """All slots are released. With the lock held."""
        self.taken.clear()
        self.total = self.limit = 0

    def is_written(self, key: str) -> bool:
        """Return whether the number of this key is in the store. With the lock held."""
        return not self.share or key in self.written

    def note_written(self, key: str) -> tuple[bool, int]:
        """Note that the number of this key is written now.

        :return: whether that gives up a share, and the number.
        """
        with self.lock:
            is_written = self.is_written(key)
            if self.share:
                self.written.add(key)
            return not is_written, self.taken.get(key, 0)

    def list_written(self) -> list[str]:
        """Return the keys whose number is in the store. With the lock held."""
        return list(self.written | {key for key in self.taken if self.is_written(key)})

    def count_unwritten(self) -> int:
        """Return how many slots were taken that the store does not know of."""
        with self.lock:
            return sum(number for key, number in self.taken.items() if not self.is_written(key))

    def begin_share(self, share: int, crowded: Iterable[str], until: float) -> None:
        """The process has a share from now on, and all numbers so far are in the store. With the lock held.

        :param crowded: the keys of which it has no share, since too many of their slots are taken.
        :param until: when the share expires unless it is renewed, in seconds of ``time.monotonic``.
        """
        self.written = {*self.taken, *crowded} if share else set()
        self.share, self._valid_until = share, until

    def renew_share(self, until: float) -> None:
        """The share was renewed. With the lock held."""
        self._valid_until = until


def choose_share(limit: int, others: int) -> int:
    """Return the share that a process gets.

    :param limit: how many slots all processes share under a key.
    :param others: the shares of all other processes together.
    """
    return max(0, min(limit // SHARE, limit // ALL_SHARES - others))
