"""Sees what blocks gevent's loop while it does: a thread of the system's, beside the loop's own.

It sleeps until a turn of the heart is overdue, and then notes the calls of the thread that does not come
to it. gevent has such a monitor; that one follows each switch of a greenlet, wakes ten times a second, and
prints by itself, for the whole application. This one wakes once a second. It uses nothing that gevent patched,
and no lock: not even logging. Imported only where gevent is in use.
"""

from __future__ import annotations

import sys
from time import monotonic
from types import FrameType
from typing import Sequence

from gevent.monkey import get_original

from .loop_lag import LATE, Call, LoopLag

#: Seconds after which it looks: before it counts as late, so that whatever counts was seen.
SUSPECT = 0.75 * LATE

#: Calls that are noted, from the innermost.
DEPTH = 100

_start_thread = get_original("_thread", "start_new_thread")
_this_thread = get_original("_thread", "get_ident")
_sleep = get_original("time", "sleep")


class Watchdog:
    """Watches the thread that makes it, until it is told to stop.

    :param pulse: whose turns come in that thread.
    """

    def __init__(self, pulse: LoopLag) -> None:
        self._pulse = pulse
        self._watched = _this_thread()
        self._is_on = True
        #: The turn that did not come, and what ran instead; replaced as one.
        self._noted: tuple[float, Sequence[Call]] = (0.0, ())
        try:
            _start_thread(self._run, ())
        except RuntimeError:
            pass  # the system has no thread left: the heart beats all the same

    def stop(self) -> None:
        """Its thread ends within a second."""
        self._is_on = False

    def seen(self, due: float) -> Sequence[Call]:
        noted_due, calls = self._noted
        return calls if noted_due == due else ()

    def _run(self) -> None:
        while self._is_on:
            left = LATE
            try:
                left = self._look()
            except Exception:  # nothing may be logged here; without memory, for one, the next look may succeed
                pass
            _sleep(min(left, LATE) if left > 0 else SUSPECT / 4)

    def _look(self) -> float:
        """Note what runs if a turn is overdue; the seconds until one may be."""
        due = self._pulse.due
        left = due + SUSPECT - monotonic()
        if left <= 0 and due != self._noted[0]:
            self._noted = due, calls_of(sys._current_frames().get(self._watched))
        return left


def calls_of(frame: FrameType | None) -> list[Call]:
    """The calls that led to a frame, outermost first. Reads no file: the frame goes on while it is looked at."""
    calls: list[Call] = []
    while frame is not None and len(calls) < DEPTH:
        calls.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return calls[::-1]
