"""The watchdog: a native thread that notes what blocks gevent's loop while it does.

It sleeps until a turn of the timer is overdue, and then notes the calls of the thread whose turn it is. gevent has a
monitor for this too, but it follows each switch of a greenlet, wakes ten times a second, and prints by itself, for the
whole application. The watchdog wakes once a second. It uses nothing that gevent has patched, and no lock, so it
cannot log. Imported only where gevent is in use.
"""

from __future__ import annotations

import sys
from time import monotonic
from types import FrameType
from typing import Sequence

from gevent.monkey import get_original

from .loop_lag import LATE, Call, LoopLag

#: Seconds of lag after which the thread is looked at: less than ``LATE``, so that every late turn was seen.
SUSPECT = 0.75 * LATE

#: Calls that are noted, beginning with the innermost.
DEPTH = 100

_start_thread = get_original("_thread", "start_new_thread")
_this_thread = get_original("_thread", "get_ident")
_sleep = get_original("time", "sleep")


class Watchdog:
    """Watches the thread that makes it, until it is stopped.

    :param loop_lag: of the timer whose turns come in that thread.
    """

    def __init__(self, loop_lag: LoopLag) -> None:
        self._loop_lag = loop_lag
        self._watched = _this_thread()
        self._is_on = True
        #: The turn that did not come, and what ran instead; replaced in one assignment, as there is no lock.
        self._noted: tuple[float, Sequence[Call]] = (0.0, ())
        try:
            _start_thread(self._run, ())
        except RuntimeError:
            pass  # the system has no thread left: the timer works without this

    def stop(self) -> None:
        """End the watchdog's thread, within a second."""
        self._is_on = False

    def get_calls(self, due: float) -> Sequence[Call]:
        noted_due, calls = self._noted
        return calls if noted_due == due else ()

    def _run(self) -> None:
        while self._is_on:
            left = LATE
            try:
                left = self._note_overdue_turn()
            except Exception:  # nothing may be logged here; without memory, for one, the next look may succeed
                pass
            _sleep(min(left, LATE) if left > 0 else SUSPECT / 4)

    def _note_overdue_turn(self) -> float:
        """Note what runs, if a turn is overdue; return the seconds until one may be."""
        due = self._loop_lag.due
        left = due + SUSPECT - monotonic()
        if left <= 0 and due != self._noted[0]:
            self._noted = due, list_calls(sys._current_frames().get(self._watched))
        return left


def list_calls(frame: FrameType | None) -> list[Call]:
    """Return the calls that led to a frame, outermost first. No file is read: the frame's thread goes on meanwhile."""
    calls: list[Call] = []
    while frame is not None and len(calls) < DEPTH:
        calls.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return calls[::-1]
