"""Whether the worker's loop keeps time: how late it was, counted, and said once a minute.

The heart says at each of its turns when the next one is due. While code blocks the loop there is no turn:
no heartbeat, no event, no page. Which code it was a watcher tells (``watchdog.py``); the line for the log is made
here. Time is passed in; nothing here sleeps or starts a thread.
"""

from __future__ import annotations

import logging
import sysconfig
import traceback
from pathlib import Path
from typing import Callable, Protocol, Sequence, Tuple

log = logging.getLogger("flask_ssemux")

#: Seconds from which on a turn counts as late. Everything of this worker is late by as much, pages too; far under
#: what heartbeats alone could bear (100 s of the default 120), far over what a busy but healthy loop takes.
LATE = 1.0

#: Seconds between two lines about it.
QUIET = 60.0

#: Calls of the application's own that the line itself shows.
TELLING = 3

#: A call that was seen: file, line, function.
Call = Tuple[str, int, str]

#: What is neither the application's code nor what it blocks with: Python's own, what was installed, and ours.
_OTHERS = (
    sysconfig.get_path("stdlib") + "/",
    sysconfig.get_path("platstdlib") + "/",
    str(Path(__file__).parents[1]) + "/",
    "<",
)
_INSTALLED = ("/site-packages/", "/dist-packages/")

#: In threads nobody keeps the others from running but the interpreter's lock, or the machine.
THREADS = "in threads it cannot be told by what: native code that keeps the interpreter's lock, or too few processors"


class Watcher(Protocol):
    """Looks at the thread of the heart's turns from outside; see ``watchdog.py``."""

    def seen(self, due: float) -> Sequence[Call]:
        """What ran when the turn due at this time did not come, outermost call first; nothing if it was not seen."""

    def stop(self) -> None:
        """It is no longer needed."""


class LoopLag:
    """The turns of a heart.

    :param streams: how many streams wait while the loop is late: with none, nobody misses a heartbeat.
    :param watch: makes a watcher of the thread that calls it; None where none can tell what blocks.
    :param margin: for the log: what heartbeats and clients expect.
    """

    def __init__(
        self,
        streams: Callable[[], int] = lambda: 0,
        watch: Callable[[LoopLag], Watcher] | None = None,
        margin: str = "",
    ) -> None:
        #: When the next turn is due; infinite while nobody expects one.
        self.due = float("inf")
        #: How often it was late, and by how many seconds at most.
        self.late = 0
        self.longest = 0.0
        self._streams = streams
        self._watch = watch
        self._watcher: Watcher | None = None
        self._margin = margin
        self._said_at = float("-inf")
        self._unsaid = 0
        self._unsaid_longest = 0.0

    def begin(self) -> None:
        """Turns are going to come, in the thread that calls this."""
        if self._watch is not None:
            self._watcher = self._watch(self)

    def end(self) -> None:
        """No turn is expected any more."""
        self.due = float("inf")
        if self._watcher is not None:
            self._watcher.stop()

    def turn(self, now: float, pause: float = 0.0) -> None:
        """The heart has its turn, and is due again after a pause."""
        due, self.due = self.due, now + pause
        if now - due >= LATE:
            self._was_late(now, due)

    def _was_late(self, now: float, due: float) -> None:
        streams, seconds = self._streams(), now - due
        if not streams:
            return
        self.late += 1
        self.longest = max(self.longest, seconds)
        if now - self._said_at < QUIET:
            self._unsaid += 1
            self._unsaid_longest = max(self._unsaid_longest, seconds)
            return
        log.warning("%s", self._told(seconds, streams, due))
        self._said_at, self._unsaid, self._unsaid_longest = now, 0, 0.0

    def _told(self, seconds: float, streams: int, due: float) -> str:
        watcher = self._watcher
        calls = watcher.seen(due) if watcher else ()
        parts = [
            "the worker was blocked and is late by %d ms: its streams (%d) got neither heartbeats nor events%s; "
            % (seconds * 1000, streams, self._margin),
            told_of(calls) if watcher else THREADS,
        ]
        if self._unsaid:
            since = "; since the last such line it was late %d times more, by up to %d ms"
            parts.append(since % (self._unsaid, self._unsaid_longest * 1000))
        if calls:
            parts.append("\nWhat ran then (most recent call last):\n" + "".join(traceback.format_list(_frames(calls))))
        return "".join(parts).rstrip()


def told_of(calls: Sequence[Call]) -> str:
    """In one line: what blocked, and what to do."""
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
        % " > ".join("%s (%s:%d)" % (name, file, line) for file, line, name in telling(calls))
    )


def telling(calls: Sequence[Call]) -> Sequence[Call]:
    """The innermost calls of the application's own code; where it has none, the innermost of all."""
    return [call for call in calls if _is_own(call[0])][-TELLING:] or calls[-1:]


def _is_own(file: str) -> bool:
    return not file.startswith(_OTHERS) and not any(part in file for part in _INSTALLED)


def _is_idle(calls: Sequence[Call]) -> bool:
    """Whether it was gevent's loop itself that waited."""
    file, _, name = calls[-1]
    return name == "run" and file.endswith("/gevent/hub.py")


def _frames(calls: Sequence[Call]) -> list[traceback.FrameSummary]:
    return [traceback.FrameSummary(file, line, name) for file, line, name in calls]
