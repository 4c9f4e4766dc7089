"""Checks streams that are open again: is their user still the same, and may this user still read their channels?

Only for ``SSEMUX_RECHECK``. One thread (or greenlet) checks one stream after another, so that the application gets one
of these requests at a time and no database session is held between two of them. If a check takes long, another thread
goes on with the other streams; how many checks may run at a time is limited. A check without an answer counts as
missed, and a stream that misses several checks in a row is ended. The timer says when checks are due;
``rebuilt_request.py`` asks the application.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from flask import Flask

from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..options import log
from ..util.background import run_in_background
from ..util.log_throttle import LogThrottle
from ..util.supervise import attempt, describe_error
from ..util.threads import greenlets_are_threads
from .rebuilt_request import AccessChecker, SavedRequest, Verdict
from .rules import Rules

#: How often the timer looks for streams that are due: this fraction of the interval, and at least every so many
#: seconds.
TIMER_SHARE = 0.1
TIMER_SECONDS = 1.0

#: The maximum duration of a check, in seconds; the interval, if that is shorter.
MAX_SECONDS = 10.0

#: A stream ends after so many missed checks in a row.
MAX_MISSES = 3

#: The maximum number of checks at a time. Nearly all checks that run at the same time do so because they hang. Streams
#: of a rule that hangs may use half of it; streams whose own last check hung, a quarter.
MAX_RUNNING = 64

#: The next check that is likely to hang begins after this fraction of the patience with the one before.
SUSPECT_SHARE = 0.2

_THREAD = "ssemux-recheck"
_NOT_CHECKED = "a stream could not be reauthorized"


class CheckState(NamedTuple):
    """What is kept of a stream between two checks.

    :param due: when its next check is due.
    :param misses: how many checks in a row were missed.
    :param hung: whether the last check gave no answer in time.
    :param with_before: whether its user is found in ``before_request``.
    """

    saved: SavedRequest
    due: float
    misses: int = 0
    hung: bool = False
    with_before: bool = False


class RunningCheck:
    """One check of one stream."""

    def __init__(self, stream: Stream, state: CheckState) -> None:
        self.stream = stream
        self.state = state
        self.since = time.monotonic()
        #: The function of the application that is being called.
        self.asked = ""
        #: Whether another thread goes on with the other streams.
        self.is_left_behind = False
        #: Whether the check counts as missed because it takes too long.
        self.is_overdue = False
        self.ended = threading.Event()
        self._greenlet: Any = None

    def note_start(self) -> None:
        """Note that the current thread or greenlet runs this check."""
        self.since = time.monotonic()
        if greenlets_are_threads():
            from gevent import getcurrent

            self._greenlet = getcurrent()

    def note_asked(self, function: str) -> None:
        self.asked = function

    def interrupt(self) -> None:
        """End the check if it runs in a greenlet; a thread cannot be ended from outside."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)


#: Makes the reauthorizer of a worker, from the last three arguments of ``Reauthorizer``.
MakeReauthorizer = Callable[[Callable[[Stream, str], None], Callable[[], float], Callable[[], None]], "Reauthorizer"]


class Reauthorizer:
    """Checks the open streams of one application again and again. A member of the timer.

    :param interval: seconds between two checks of a stream.
    :param end_stream: ends a stream for a reason.
    :param clock: the timer's.
    :param yield_control: lets other threads or greenlets run.
    """

    def __init__(
        self,
        app: Flask,
        rules: Rules,
        interval: float,
        end_stream: Callable[[Stream, str], None],
        clock: Callable[[], float],
        yield_control: Callable[[], None],
    ) -> None:
        self.timer_slot: int | None = None
        self._interval = interval
        self._end_stream = end_stream
        self._clock = clock
        self._yield_control = yield_control
        self._checker = AccessChecker(app, rules, self._report_teardown)
        #: How many checks were missed.
        self.failed = 0
        self.disown()

    def disown(self) -> None:
        """In a forked child: forget the streams, which belong to the parent."""
        self._lock = threading.Lock()
        self._log_throttle = LogThrottle()
        self._states: dict[Stream, CheckState] = {}  # in the order in which their checks are due
        #: Streams that are due and whose checks are likely to hang.
        self._suspects: deque[tuple[Stream, CheckState]] = deque()
        self._running: set[RunningCheck] = set()
        #: Belongs to the thread that checks one stream after another, and which stops if this is no longer its own.
        self._turn: object | None = None
        #: The check that this thread runs.
        self._current: RunningCheck | None = None
        self._checks_suspects = False
        self._now = 0.0

    def add_stream(self, stream: Stream, environ: Mapping[str, Any], channels: Sequence[str] | None) -> None:
        """Check this stream from now on.

        :param environ: of its request.
        :param channels: as for ``SavedRequest``.
        """
        with self._lock:
            if stream.state is CLOSED:  # it ended before it was known here
                return
            self._states[stream] = CheckState(SavedRequest.of(environ, channels), self._clock() + self._interval)

    def remove_stream(self, stream: Stream) -> None:
        """Forget a stream that has ended."""
        with self._lock:
            self._states.pop(stream, None)

    def run_due_work(self, now: float) -> float:
        """Begin the checks that are due, and return when to call this again."""
        self._watch_running()
        with self._lock:
            first = next(iter(self._states.values()), None)
            begins = first is not None and first.due <= now and self._turn is None
            if begins:
                self._now, self._turn = now, object()
        if begins and not attempt(_NOT_CHECKED, run_in_background, _THREAD, self._check_due_streams, self._turn):
            self._turn = None
        return now + self._patience_seconds

    @property
    def _patience_seconds(self) -> float:
        """Seconds after which a check is left behind."""
        return min(TIMER_SECONDS, self._interval * TIMER_SHARE)

    @property
    def is_checking(self) -> bool:
        """Whether checks run that may end soon; those that were left behind do not count."""
        return self._turn is not None or self._checks_suspects

    # -- the threads that run checks -----------------------------------------

    def _check_due_streams(self, turn: object) -> None:
        """Check one due stream after another, for as long as the turn is this thread's."""
        try:
            due = self._take_due_stream()
            while due is not None:
                attempt(_NOT_CHECKED, self._check_or_suspect, *due)
                self._yield_control()
                due = self._take_due_stream() if self._turn is turn else None
        finally:
            with self._lock:
                if self._turn is turn:
                    self._turn = None

    def _take_due_stream(self) -> tuple[Stream, CheckState] | None:
        """Return the stream that is due first, and put it at the end of the order."""
        with self._lock:
            for stream, state in self._states.items():
                if state.due > self._now:
                    break
                del self._states[stream]
                self._states[stream] = state._replace(due=self._now + self._interval)
                return stream, state
        return None

    def _check_or_suspect(self, stream: Stream, state: CheckState) -> None:
        """Check a stream in this thread. If its check is likely to hang, queue the stream as a suspect instead."""
        if stream.is_over or self._is_being_checked(stream):
            return
        if state.hung or self._has_hanging_rule(state):
            self._add_suspect(stream, state)
        elif self._may_run(stream, MAX_RUNNING):
            self._current = check = RunningCheck(stream, state)
            self._run_check(check)

    def _add_suspect(self, stream: Stream, state: CheckState) -> None:
        with self._lock:
            self._suspects.append((stream, state))
            begins, self._checks_suspects = not self._checks_suspects, True
        if begins and not attempt(_NOT_CHECKED, run_in_background, _THREAD, self._check_suspects):
            self._checks_suspects = False

    def _check_suspects(self) -> None:
        """Begin the checks of suspects one after another, each in a thread of its own, because it may hang."""
        suspect = self._take_suspect()
        while suspect is not None:
            attempt(_NOT_CHECKED, self._check_suspect, *suspect)
            self._yield_control()
            suspect = self._take_suspect()

    def _take_suspect(self) -> tuple[Stream, CheckState] | None:
        with self._lock:
            self._checks_suspects = bool(self._suspects)
            return self._suspects.popleft() if self._suspects else None

    def _check_suspect(self, stream: Stream, state: CheckState) -> None:
        most = MAX_RUNNING // 4 if state.hung else MAX_RUNNING // 2
        if self._is_being_checked(stream) or not self._may_run(stream, most):
            return
        check = RunningCheck(stream, state)
        run_in_background(_THREAD, self._run_check, check)
        check.ended.wait(self._patience_seconds * SUSPECT_SHARE)
        check.is_left_behind = not check.ended.is_set()

    def _may_run(self, stream: Stream, most: int) -> bool:
        """Return whether another check may begin; if not, the check of this stream counts as missed."""
        count = len(self._running)
        if count >= most:
            self._note_miss(stream, TimeoutError("%d checks of other streams give no answer" % count), True)
        return count < most

    def _is_being_checked(self, stream: Stream) -> bool:
        """Return whether a check of this stream still runs; one that was overdue before counts as missed again."""
        check = next((check for check in list(self._running) if check.stream is stream), None)
        if check is not None and check.is_overdue:
            self._note_miss(stream, TimeoutError("%s still gives no answer" % check.asked), True)
        return check is not None

    def _has_hanging_rule(self, state: CheckState) -> bool:
        hanging = {check.asked for check in list(self._running) if check.is_left_behind}
        if not hanging:
            return False
        rules = [self._checker.name_rule(channel) for channel in state.saved.channels or ()]
        return not hanging.isdisjoint(["before_request", "identify", "allow_status", *rules])

    def _run_check(self, check: RunningCheck) -> None:
        self._running.add(check)
        check.note_start()
        state = check.state
        try:
            verdict = self._checker.check_stream(check.stream, state.saved, state.with_before, check.note_asked)
        except BaseException as error:  # also gevent's Timeout, which is not an Exception
            if not check.is_overdue:
                self._note_miss(check.stream, error, False)
        else:
            self._apply_verdict(check.stream, verdict)
        finally:
            self._running.discard(check)
            check.ended.set()

    # -- what follows from a check -------------------------------------------

    def _watch_running(self) -> None:
        """Leave behind the current check if it takes long; count checks that take too long as missed."""
        now = time.monotonic()
        check = self._current
        if check in self._running and now - check.since >= self._patience_seconds:
            check.is_left_behind = True
            self._current = self._turn = None  # its thread ends with this check
        for check in self._find_overdue(now):
            check.is_overdue = check.is_left_behind = True
            check.interrupt()
            error = TimeoutError("%s has not answered for %.1f s" % (check.asked, now - check.since))
            # In the background, since the end of a stream may wait for the broker.
            run_in_background("ssemux-recheck-late", self._note_miss, check.stream, error, True)

    def _find_overdue(self, now: float) -> Iterator[RunningCheck]:
        longest = min(MAX_SECONDS, self._interval)
        return (check for check in list(self._running) if not check.is_overdue and now - check.since >= longest)

    def _apply_verdict(self, stream: Stream, verdict: Verdict) -> None:
        """Apply the result of a check even if it is late, except in a child that was forked meanwhile."""
        if verdict.refusal is None:
            self._update_state(stream, with_before=verdict.with_before)
        elif stream in self._states:
            self._end_stream(stream, verdict.refusal)

    def _note_miss(self, stream: Stream, error: BaseException, hung: bool) -> None:
        """Count a missed check, and end the stream if it missed too many in a row."""
        self.failed += 1
        misses = self._update_state(stream, hung=hung, is_miss=True)
        if misses < MAX_MISSES:
            self._log_error("a stream could not be reauthorized, and stays open", error)
        else:
            self._log_error("a stream ends, since it could not be reauthorized %d times in a row" % misses, error)
            self._end_stream(stream, "the application did not say whether its user may still read it")

    def _update_state(self, stream: Stream, hung: bool = False, is_miss: bool = False, **changes: Any) -> int:
        """Note the result of a check, and return how many checks in a row this stream has missed."""
        with self._lock:
            state = self._states.get(stream)
            if state is None:
                return 0
            misses = state.misses + 1 if is_miss else 0
            self._states[stream] = state._replace(misses=misses, hung=hung, **changes)
        return misses

    def _log_error(self, what: str, error: BaseException) -> None:
        more = self._log_throttle.count("%s: %s" % (what, type(error).__name__), time.monotonic())
        if more is not None:
            log.error("%s: %s%s", what, describe_error(error), more, exc_info=error)

    def _report_teardown(self, error: BaseException) -> None:
        self._log_error("a teardown function failed when a stream was reauthorized", error)
