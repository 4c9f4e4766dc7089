"""Replays wait for one another: for a turn to work, and for bytes to hold.

A replay's work is the loop's, and what clients have yet to take is the worker's memory. One works at a time, and lets
others run; what all hold together is bounded. Whoever came first is served first. No history, no streams.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import Callable, Iterator

from ..errors import BrokerUnavailable

#: Seconds of work after which others run: requests, heartbeats, events.
SLICE = 0.003

#: Seconds for which bytes may be held while others wait for them. A client that takes a page for longer is cut off.
SLOW = 3.0

#: Seconds that one waits for its turn, at most: 10,000 clients that come back at once each take some 0.3 ms.
PATIENCE = 20.0


class ReplayTurns:
    """One works at a time, in the order in which they came.

    :param breathe: lets others run.
    """

    def __init__(self, breathe: Callable[[], None]) -> None:
        self._breathe = breathe
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Event] = deque()
        self._worked = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work, when those who came before have; after work that was long, others run before the next turn.

        :raises BrokerUnavailable: the turn did not come within ``PATIENCE`` seconds.
        """
        self._take()
        with self._working():
            yield

    @contextmanager
    def free_turn(self) -> Iterator[bool]:
        """Whether nobody works now; then this is a turn."""
        with self._lock:
            is_free, self._is_taken = not self._is_taken, True
        if not is_free:
            yield False
            return
        with self._working():
            yield True

    @contextmanager
    def _working(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            try:
                self._worked += time.monotonic() - began
                if self._worked > SLICE:
                    # Before the next has its turn: gevent's loop would look at the sockets after fifty of them only.
                    self._breathe()
                    self._worked = 0.0
            finally:
                self._give_on()

    def _take(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        has_come = False
        try:
            has_come = turn.wait(PATIENCE)
        finally:  # what waits may also be ended by its server
            if not has_come:
                self._leave(turn)
        if not has_come:
            raise BrokerUnavailable("history is read by others, for %g s" % PATIENCE)

    def _leave(self, turn: threading.Event) -> None:
        """Wait no more; a turn that has come at this moment is given on."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self._give_on()

    def _give_on(self) -> None:
        """The turn is the next one's."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False


class Allowance:
    """Bytes that may be held together.

    :param size: of them.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        # A share may be given back by the garbage collector, which may come by while the lock is held here.
        self._lock = threading.RLock()
        self._waiting: deque[Share] = deque()
        #: Since when each is held, the oldest first.
        self._granted: dict[Share, float] = {}
        #: Bytes that are held now.
        self.held = 0

    def ask(self, size: int, cut: Callable[[], None]) -> Share:
        """A share of so many bytes, which is granted when those who came before have theirs and there is room.

        :param cut: cuts off whoever holds it.
        """
        share = Share(self, size, cut)
        with self._lock:
            self._waiting.append(share)
            self._grant()
        return share

    def ask_now(self, size: int, cut: Callable[[], None]) -> Share | None:
        """A share of so many bytes, if there is room for it and nobody waits; else None."""
        share = self.ask(size, cut)
        if share.is_granted:
            return share
        share.give_back()
        return None

    def settle(self, share: Share, size: int) -> None:
        """Let a share hold so many bytes from here on; 0 gives it back. One that still waits waits no more."""
        with self._lock:
            if share in self._granted:
                self.held += size - share.size
                share.size = size
                if not size:
                    del self._granted[share]
            elif share in self._waiting:
                self._waiting.remove(share)
            self._grant()

    def cut_slow(self) -> None:
        """Cut off those who hold bytes for too long, if others wait."""
        with self._lock:
            before = time.monotonic() - SLOW
            slow = [share for share, since in self._granted.items() if since < before] if self._waiting else []
        for share in slow:
            share.cut()

    def _grant(self) -> None:
        """Grant those that wait, while there is room; one of any size where nothing else is held."""
        while self._waiting and (not self.held or self.held + self._waiting[0].size <= self._size):
            share = self._waiting.popleft()
            self.held += share.size
            self._granted[share] = time.monotonic()
            share.grant()


class Share:
    """Bytes that one may hold, as soon as they are granted.

    :param cut: cuts off whoever holds it.
    """

    __slots__ = ("size", "cut", "is_granted", "_allowance", "_granted")

    def __init__(self, allowance: Allowance, size: int, cut: Callable[[], None]) -> None:
        self.size = size
        self.cut = cut
        self.is_granted = False
        self._allowance = allowance
        self._granted: threading.Event | None = None

    def grant(self) -> None:
        self.is_granted = True
        if self._granted is not None:
            self._granted.set()

    def wait(self, seconds: float) -> bool:
        """Whether it is granted by then."""
        if not self.is_granted:
            self._granted = self._granted or threading.Event()
            if not self.is_granted:  # it may have been meanwhile
                self._granted.wait(seconds)
        if not self.is_granted:
            self._allowance.cut_slow()
        return self.is_granted

    def settle(self, size: int) -> None:
        """Hold so many bytes; no more than that from here on."""
        self._allowance.settle(self, size)

    def give_back(self) -> None:
        """Hold nothing. More than once is fine."""
        self._allowance.settle(self, 0)
