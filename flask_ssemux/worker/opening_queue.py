"""The queue of requests for streams: a few streams are opened at each turn of gevent's loop, so that pages come first.

After a deploy thousands of clients come back at once. Without the queue, each page would wait behind all of them. It
also keeps what an opening costs here, from which a drain derives when the clients of a worker come back. Which requests
are openings is decided in ``http/opening_border.py``.
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import Any, Iterator

from ..util import forks
from ..util.threads import runs_greenlets

#: Openings that begin in one turn of the loop. Between two turns, the loop serves every other request that is ready.
PER_TURN = 4

#: Openings that wait at most. A waiting request keeps its greenlet and its connection: about 20 KB.
MAX_WAITING = 2000

#: What an opening costs until some were measured, in seconds of CPU time. The first one takes many times as long, since
#: it starts the worker's parts.
FIRST_COST = 0.001

#: What the server spends on a request outside of the application (accepting, parsing, sending, closing), in parts of
#: the cost inside of it. Measured with gunicorn's gevent worker: see "Opening a stream" in docs/performance.md.
SERVER_SHARE = 0.63

#: How many of the latest groups of openings the cost is a quartile of. A group has the openings that overlap, up to so
#: many.
SAMPLES, GROUP = 31, 50

#: With fewer groups, ``FIRST_COST`` counts as one of them.
FEW_SAMPLES = 4

#: Openings that may always wait: a tenth of a second of work.
FEW_WAITING = 100


class QueueFull(Exception):
    """So many openings wait that one more would wait for too long."""


class OpeningQueue:
    """All openings of this process, whatever their application. Under a server without greenlets nothing waits."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self.max_waiting = MAX_WAITING
        self._forget()

    def _forget(self) -> None:
        self._waiting: deque[Any] = deque()
        self._watcher: Any = None
        #: The openings of the present group that have begun and have not ended, how many have ended, and the CPU time
        #: at its beginning.
        self._open, self._ended, self._began = 0, 0, 0.0

    def __len__(self) -> int:
        """Return how many openings wait for their turn."""
        return len(self._waiting)

    @property
    def cost(self) -> float:
        """The seconds of CPU time that this process spends on an opening, with what its server spends on it."""
        guessed = [FIRST_COST] if len(self._samples) < FEW_SAMPLES else []
        samples = sorted([*guessed, *self._samples])
        return samples[len(samples) // 4] * (1 + SERVER_SHARE)  # most groups also have some work of other requests

    def await_turn(self) -> None:
        """Return when this greenlet may open its stream: at once, unless several others do.

        :raises QueueFull: ``max_waiting`` others wait.
        """
        if not runs_greenlets():
            return
        if self._watcher is None:  # no other stream was opened in this turn
            self._start_turns()
            return
        if len(self._waiting) >= self.max_waiting:
            raise QueueFull
        self._wait()

    def limit_waiting(self, capacity: int | None) -> None:
        """Leave half of the server's capacity for pages, since a waiting request uses it, unless the wait is short.

        :param capacity: how many requests the server serves at a time; None if there is no limit.
        """
        self.max_waiting = MAX_WAITING if capacity is None else min(MAX_WAITING, max(capacity // 2, FEW_WAITING))

    @contextmanager
    def measure_opening(self) -> Iterator[None]:
        """Measure the CPU time of an opening. In threads nothing is measured: each has a clock of its own."""
        if not runs_greenlets():
            yield
            return
        if not self._open:
            self._began, self._ended = time.thread_time(), 0
        self._open += 1
        born = forks.generation
        try:
            yield
        finally:
            if born == forks.generation:  # otherwise the request has forked, and continues in the child
                self._end_opening()

    def _end_opening(self) -> None:
        """Openings that overlap are measured together: each also works while another waits."""
        self._open -= 1
        self._ended += 1
        if not self._open or self._ended >= GROUP:
            now = time.thread_time()
            self._samples.append((now - self._began) / self._ended)
            self._began, self._ended = now, 0

    def _wait(self) -> None:
        from gevent import getcurrent

        greenlet = getcurrent()
        self._waiting.append(greenlet)
        born = forks.generation
        try:
            self._gevent_hub.switch()
        except BaseException:  # the request was given up, for example by gevent.Timeout
            if greenlet in self._waiting:
                self._waiting.remove(greenlet)
            raise
        forks.halt_copy(born)

    def _start_turns(self) -> None:
        from gevent import get_hub

        # The loop looks at its sockets before it calls an idle watcher. A busy loop calls it only of this priority.
        self._gevent_hub = get_hub()
        self._watcher = watcher = self._gevent_hub.loop.idle()
        watcher.priority = self._gevent_hub.loop.MAXPRI
        watcher.start(self._begin_turn, watcher)

    def _begin_turn(self, watcher: Any) -> None:
        """In gevent's hub: let the next requests open their streams. If none waits, the loop may sleep again."""
        waiting = self._waiting
        if not waiting or watcher is not self._watcher:  # in a forked child, it is a copy of the parent's
            self._stop_turns(watcher)
            return
        for _ in range(PER_TURN):
            if waiting and waiting is self._waiting:  # a request that forks continues in the child, without the others
                waiting.popleft().switch()

    def _stop_turns(self, watcher: Any) -> None:
        watcher.stop()
        watcher.close()
        if watcher is self._watcher:
            self._watcher = None


#: The queue of this process.
opening_queue = OpeningQueue()

forks.call_in_child(opening_queue._forget, forks.LOCKS)
