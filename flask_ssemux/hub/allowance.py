"""A bound for the bytes that all replays of a worker hold: pages that clients have yet to take.

A replay requests a share, waits until the share is granted, and gives it back when its client has taken the page. The
first request is granted first. No history, no streams.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Callable

#: Seconds for which bytes may be held while others wait. A client that takes longer for a page is cut off.
SLOW = 3.0


class Allowance:
    """Bytes that shares may hold together.

    :param size: the maximum number of bytes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # Reentrant: a share may be given back by the garbage collector, which may run while the lock is held here.
        self._lock = threading.RLock()
        self._waiting: deque[Share] = deque()
        #: Since when each share is held, the oldest first.
        self._granted: dict[Share, float] = {}
        #: How many bytes are held now.
        self.held = 0

    def request(self, size: int, cut_holder: Callable[[], None]) -> Share:
        """Request a share. It is granted after those requested before, as soon as there is room.

        :param cut_holder: cuts off the client for which the share is held.
        """
        share = Share(self, size, cut_holder)
        with self._lock:
            self._waiting.append(share)
            self._grant_waiting()
        return share

    def request_now(self, size: int, cut_holder: Callable[[], None]) -> Share | None:
        """Return a granted share; None if there is no room for it, or others wait."""
        share = self.request(size, cut_holder)
        if share.is_granted:
            return share
        share.give_back()
        return None

    def resize_share(self, share: Share, size: int) -> None:
        """Change how many bytes a share holds. 0 gives the share back, or gives up the wait for it."""
        with self._lock:
            if share in self._granted:
                self.held += size - share.size
                share.size = size
                if not size:
                    del self._granted[share]
            elif share in self._waiting:
                self._waiting.remove(share)
            self._grant_waiting()

    def cut_slow_holders(self) -> None:
        """Cut off the clients for which bytes are held too long, if others wait."""
        with self._lock:
            before = time.monotonic() - SLOW
            slow = [share for share, since in self._granted.items() if since < before] if self._waiting else []
        for share in slow:
            share.cut_holder()

    def _grant_waiting(self) -> None:
        """Grant shares while there is room. If nothing is held, a share of any size is granted."""
        while self._waiting and (not self.held or self.held + self._waiting[0].size <= self._size):
            share = self._waiting.popleft()
            self.held += share.size
            self._granted[share] = time.monotonic()
            share.set_granted()


class Share:
    """Bytes that a replay may hold, as soon as they are granted."""

    __slots__ = ("size", "cut_holder", "is_granted", "_allowance", "_granted")

    def __init__(self, allowance: Allowance, size: int, cut_holder: Callable[[], None]) -> None:
        self.size = size
        self.cut_holder = cut_holder
        self.is_granted = False
        self._allowance = allowance
        self._granted: threading.Event | None = None

    def set_granted(self) -> None:
        self.is_granted = True
        if self._granted is not None:
            self._granted.set()

    def wait(self, seconds: float) -> bool:
        """Return whether the share is granted, at the latest after so many seconds."""
        if not self.is_granted:
            self._granted = self._granted or threading.Event()
            if not self.is_granted:  # it may have been granted meanwhile
                self._granted.wait(seconds)
        if not self.is_granted:
            self._allowance.cut_slow_holders()
        return self.is_granted

    def resize(self, size: int) -> None:
        """Hold so many bytes from now on."""
        self._allowance.resize_share(self, size)

    def give_back(self) -> None:
        """Hold nothing. Further calls do nothing."""
        self._allowance.resize_share(self, 0)
