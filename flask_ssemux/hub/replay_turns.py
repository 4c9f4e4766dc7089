"""Replays take turns: one works at a time, and lets others run after some milliseconds.

The replay of a client is work for the event loop, and after a deploy there are thousands. The first to come is served
first. No history, no streams.
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

#: The maximum number of seconds that a replay waits for its turn. 10,000 clients that come back at once take some
#: 0.3 ms each.
PATIENCE = 20.0


class ReplayTurns:
    """Turns in the order in which they were asked for.

    :param yield_control: lets others run.
    """

    def __init__(self, yield_control: Callable[[], None]) -> None:
        self._yield_control = yield_control
        self._lock = threading.Lock()
        self._is_taken = False
        self._waiting: deque[threading.Event] = deque()
        self._worked = 0.0

    @contextmanager
    def take_turn(self) -> Iterator[None]:
        """Wait for a turn, in order of request. After a long turn, let other greenlets run before the next one.

        :raises BrokerUnavailable: the turn did not come within ``PATIENCE`` seconds.
        """
        self._wait_for_turn()
        with self._measure_work():
            yield

    @contextmanager
    def take_free_turn(self) -> Iterator[bool]:
        """Take a turn if nobody works now. Yield whether that is so."""
        with self._lock:
            is_free, self._is_taken = not self._is_taken, True
        if not is_free:
            yield False
            return
        with self._measure_work():
            yield True

    @contextmanager
    def _measure_work(self) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            try:
                self._worked += time.monotonic() - began
                if self._worked > SLICE:
                    # Before the next turn: otherwise gevent's loop looks at the sockets only after fifty turns.
                    self._yield_control()
                    self._worked = 0.0
            finally:
                self._pass_turn_on()

    def _wait_for_turn(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return
            turn = threading.Event()
            self._waiting.append(turn)
        has_come = False
        try:
            has_come = turn.wait(PATIENCE)
        finally:  # the server may also end the greenlet that waits
            if not has_come:
                self._stop_waiting(turn)
        if not has_come:
            raise BrokerUnavailable("other replays have read the history for %g s" % PATIENCE)

    def _stop_waiting(self, turn: threading.Event) -> None:
        """Give up a turn. If it has come at this moment, it is passed on."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self._pass_turn_on()

    def _pass_turn_on(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_taken = False
