"""Ends the streams of a worker that is about to stop, and gives their clients time to take the end.

Whether the server is about to stop is found out by ``server.py``; the streams are ended by ``open_streams.py``.
"""

from __future__ import annotations

from ..options import log
from . import server
from .open_streams import OpenStreams
from .periodic import OneTimeTask
from .timer import Timer

#: What clients of this worker read when it stops: those that have a stream, and those that ask for one.
STOPPING = "this worker stops"

#: Seconds between two checks whether the server is about to stop.
CHECK_INTERVAL = 0.25

#: Seconds that clients have to take the end of their streams. Then the remaining streams are cut off.
DRAIN_SECONDS = 3.0


class Drain:
    """Ends the streams of one application in this process."""

    def __init__(self, streams: OpenStreams, timer: Timer) -> None:
        self._streams = streams
        self._timer = timer
        self.has_begun = False

    def check_server(self) -> None:
        """Begin the drain if the server was asked to stop."""
        if server.is_stopping():
            self.begin()

    def begin(self) -> None:
        """End every stream cleanly, and cut off what is left after ``DRAIN_SECONDS``. Further calls do nothing."""
        if self.has_begun:
            return
        self.has_begun = True
        # gunicorn also ends a worker that was blocked for too long. Its lag is noted now: the timer has no later turn.
        self._timer.loop_lag.note_turn(self._timer.clock())
        log.info("the worker stops: %d streams are sent elsewhere", len(self._streams))
        self._streams.drain(STOPPING)
        self._timer.add(OneTimeTask(self._abort_rest), self._timer.clock() + DRAIN_SECONDS)

    def _abort_rest(self) -> None:
        self._streams.abort_drained("its client did not take its end")
