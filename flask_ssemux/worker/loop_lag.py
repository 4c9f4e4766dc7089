"""The loop lag: how late the event loop runs. It is measured at the timer's turns and logged once a minute.

At each of its turns the timer says when the next one is due. While code blocks the loop, there is no turn: no
heartbeat, no event and no page is sent. ``watchdog.py`` finds out which code it was; the log line is made here. Time is
passed in; nothing here sleeps or starts a thread.
"""

from __future__ import annotations

import logging
import sysconfig
import traceback
from pathlib import Path
from typing import Callable, Protocol, Sequence, Tuple

log = logging.getLogger("flask_ssemux")

#: Seconds of lag from which on a turn counts as late. All that this worker does is late by as much, pages too. This is
#: far less than the 100 s that a client waits beyond the heartbeat interval by default, and far more than the lag of a
#: busy but healthy loop.
LATE = 1.0

#: Seconds between two log lines.
LOG_INTERVAL = 60.0

#: Calls of the application's own code that the log line names.
SHOWN_CALLS = 3

#: A call that was seen: file, line, function.
Call = Tuple[str, int, str]

#: Code that is neither the application's nor a library that blocks: Python's own, and this package.
_NOT_OWN = (
    sysconfig.get_path("stdlib") + "/",
    sysconfig.get_path("platstdlib") + "/",
    str(Path(__file__).parents[1]) + "/",
    "<",
)
_INSTALLED = ("/site-packages/", "/dist-packages/")

#: In threads, only the interpreter's lock or the machine can keep all others from running.
THREADS = "in threads the cause is not known: native code that keeps the interpreter's lock, or too few processors"


class Watcher(Protocol):
    """Looks at the thread of the timer's turns from outside; see ``watchdog.py``."""

    def get_calls(self, due: float) -> Sequence[Call]:
        """Return what ran when the turn that was due at this time did not come, outermost call first.

        Empty if it was not seen.
        """

    def stop(self) -> None:
        """The watcher is no longer needed."""


class LoopLag:
    """Measures how late the turns of a timer come.

    :param count_streams: returns how many streams wait while the loop is late; without streams no lag is noted.
    :param watch: makes a watcher of the thread that calls it; None where no watcher can see what blocks.
    :param margin: for the log: what heartbeats and clients expect; or what returns it.
    """

    def __init__(
        self,
        count_streams: Callable[[], int] = lambda: 0,
        watch: Callable[[LoopLag], Watcher] | None = None,
        margin: str | Callable[[], str] = "",
    ) -> None:
        #: When the next turn is due; infinite while none is expected.
        self.due = float("inf")
        #: How many turns were late, and the longest lag in seconds.
        self.late_turns = 0
        self.longest = 0.0
        self._count_streams = count_streams
        self._watch = watch
        self._watcher: Watcher | None = None
        self._margin = margin
        self._logged_at = float("-inf")
        self._unlogged = 0
        self._longest_unlogged = 0.0

    def start_watching(self) -> None:
        """Turns will come from now on, in the thread that calls this."""
        if self._watch is not None:
            self._watcher = self._watch(self)

    def stop_watching(self) -> None:
        """No turn is expected any more."""
        self.due = float("inf")
        if self._watcher is not None:
            self._watcher.stop()

    def note_turn(self, now: float, pause: float = 0.0) -> None:
        """The timer has its turn, and its next one is due after a pause."""
        due, self.due = self.due, now + pause
        if now - due >= LATE:
            self._note_late_turn(now, due)

    def _note_late_turn(self, now: float, due: float) -> None:
        streams, seconds = self._count_streams(), now - due
        if not streams:
            return
        self.late_turns += 1
        self.longest = max(self.longest, seconds)
        if now - self._logged_at < LOG_INTERVAL:
            self._unlogged += 1
            self._longest_unlogged = max(self._longest_unlogged, seconds)
            return
        log.warning("%s", self._describe_lag(seconds, streams, due))
        self._logged_at, self._unlogged, self._longest_unlogged = now, 0, 0.0

    def _describe_lag(self, seconds: float, streams: int, due: float) -> str:
        watcher = self._watcher
        calls = watcher.get_calls(due) if watcher else ()
        margin = self._margin if isinstance(self._margin, str) else self._margin()
        parts = [
            "the worker was blocked and is late by %d ms: its streams (%d) got neither heartbeats nor events%s; "
            % (seconds * 1000, streams, margin),
            describe_calls(calls) if watcher else THREADS,
        ]
        if self._unlogged:
            since = "; since the last such line it was late %d times more, by up to %d ms"
            parts.append(since % (self._unlogged, self._longest_unlogged * 1000))
        if calls:
            parts.append("\nWhat ran then (most recent call last):\n" + "".join(traceback.format_list(_frames(calls))))
        return "".join(parts).rstrip()


def describe_calls(calls: Sequence[Call]) -> str:
    """Return one line about what blocked the loop, and what to do about it."""
    if not calls:
        return (
            "what ran was not seen: it kept even the interpreter, or the process was stopped; "
            "docs/blocking.md says how to find it"
        )
    if _is_idle(calls):
        return "nothing ran: the process got no processor (an overloaded or swapping machine)"
    return (
        "%s ran; let it wait as gevent does (a driver that yields, monkey.patch_all() before other imports), or "
        "compute in gevent's threadpool: docs/blocking.md"
        % " > ".join("%s (%s:%d)" % (name, file, line) for file, line, name in select_own_calls(calls))
    )


def select_own_calls(calls: Sequence[Call]) -> Sequence[Call]:
    """Return the innermost calls of the application's own code; if there are none, the innermost call of all."""
    return [call for call in calls if _is_own(call[0])][-SHOWN_CALLS:] or calls[-1:]


def _is_own(file: str) -> bool:
    return not file.startswith(_NOT_OWN) and not any(part in file for part in _INSTALLED)


def _is_idle(calls: Sequence[Call]) -> bool:
    """Return whether it was gevent's loop itself that waited."""
    file, _, name = calls[-1]
    return name == "run" and file.endswith("/gevent/hub.py")


def _frames(calls: Sequence[Call]) -> list[traceback.FrameSummary]:
    return [traceback.FrameSummary(file, line, name) for file, line, name in calls]
