"""A second look at streams that are open: who is their user now, and may they still read what they read?

Only for ``SSEMUX_RECHECK``. Streams are asked about one after another in one thread (or greenlet), so that a database
has one question of ours at a time and no session is held in between. A look that takes long is left behind, and
another thread goes on with the other streams; how many looks may be left behind is bounded. A look that gives no answer
counts as not made, and a stream of which several looks in a row were not made ends. The heart says when it is time to
look; how the application is asked is ``rebuilt_request.py``'s.
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
from ..util.supervise import attempt
from ..util.threads import greenlets_are_threads
from .rebuilt_request import Answer, Asker, Question
from .rules import Rules

#: Of the interval: so often is looked whether somebody is due; and at least every ``LOOK`` seconds.
OFTEN = 0.1
LOOK = 1.0

#: Seconds that a look may take, at most; and at most the interval.
LONGEST = 10.0

#: Looks in a row that were not made, after which the stream ends.
MISSES = 3

#: Looks that may run at one moment, nearly all of them because they hang. Those that may hang have fewer places: half
#: for streams of a rule that hangs, a quarter for streams whose own last look hung. So others find a place.
PLACES = 64

#: Of a look's patience: so long a look that may hang has before the next one of these begins.
SHORT = 0.2


class Kept(NamedTuple):
    """What is known of a stream.

    :param due: when it is asked about next.
    :param misses: how many looks in a row were not made.
    :param hung: whether the last one gave no answer in time.
    :param with_before: whether its user is found in ``before_request``.
    """

    question: Question
    due: float
    misses: int = 0
    hung: bool = False
    with_before: bool = False


class Look:
    """A look that runs."""

    def __init__(self, stream: Stream, kept: Kept) -> None:
        self.stream = stream
        self.kept = kept
        self.since = time.monotonic()
        #: What is being asked.
        self.at = ""
        #: Whether others go on without it; and whether it counts as not made.
        self.is_left = False
        self.is_overdue = False
        self.ended = threading.Event()
        self._greenlet: Any = None

    def begin(self) -> None:
        """It is made by the current thread, or greenlet."""
        self.since = time.monotonic()
        if greenlets_are_threads():
            from gevent import getcurrent

            self._greenlet = getcurrent()

    def reach(self, what: str) -> None:
        self.at = what

    def interrupt(self) -> None:
        """End it, where that is possible: a thread cannot be ended from outside."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)


class Reauthorizer:
    """Asks again. A member of the heart.

    :param every: seconds from one look at a stream to the next.
    """

    def __init__(self, app: Flask, rules: Rules, every: float) -> None:
        self.timer_slot: int | None = None
        self._every = every
        self._asker = Asker(app, rules, self._tell_teardown)
        #: Looks that were not made.
        self.failed = 0
        self.forget()

    def forget(self) -> None:
        """In a forked child: these streams are the parent's."""
        self._lock = threading.Lock()
        self._quiet = LogThrottle()
        self._kept: dict[Stream, Kept] = {}  # in the order in which they are due
        #: Streams that are due and of a rule that hangs, or whose last look hung.
        self._suspects: deque[tuple[Stream, Kept]] = deque()
        self._looks: set[Look] = set()
        #: Of the thread that asks about one stream after another; another one does when it is not this any more.
        self._turn: object | None = None
        #: The look that it makes.
        self._look: Look | None = None
        self._asks_suspects = False
        self._now = 0.0

    def begin(
        self, end: Callable[[Stream, str], None], clock: Callable[[], float], breathe: Callable[[], None]
    ) -> None:
        """Streams are going to join.

        :param end: ends a stream for a reason.
        :param clock: the heart's.
        :param breathe: lets others run.
        """
        self._end = end
        self._clock = clock
        self._breathe = breathe

    def add_stream(self, stream: Stream, environ: Mapping[str, Any], channels: Sequence[str] | None) -> None:
        with self._lock:
            if stream.state is CLOSED:  # it left before it was known here
                return
            self._kept[stream] = Kept(Question.of(environ, channels), self._clock() + self._every)

    def remove_stream(self, stream: Stream) -> None:
        with self._lock:
            self._kept.pop(stream, None)

    def run_due_work(self, now: float) -> float:
        self._mind_looks()
        with self._lock:
            first = next(iter(self._kept.values()), None)
            begins = first is not None and first.due <= now and self._turn is None
            if begins:
                self._now, self._turn = now, object()
        if begins and not attempt(
            "no stream could be asked again", run_in_background, "ssemux-recheck", self._ask_all, self._turn
        ):
            self._turn = None
        return now + self._patience

    @property
    def _patience(self) -> float:
        return min(LOOK, self._every * OFTEN)

    @property
    def is_asking(self) -> bool:
        """Whether streams are asked about that may give an answer soon."""
        return self._turn is not None or self._asks_suspects

    _is_asking = is_asking

    # -- the threads ---------------------------------------------------------

    def _ask_all(self, turn: object) -> None:
        """Ask about all streams that are due, for as long as it is this thread's turn."""
        try:
            found = self._next()
            while found is not None:
                attempt("a stream could not be asked again", self._ask, *found)
                self._breathe()
                found = self._next() if self._turn is turn else None
        finally:
            with self._lock:
                if self._turn is turn:
                    self._turn = None

    def _ask(self, stream: Stream, kept: Kept) -> None:
        if stream.is_over or self._is_asked_about(stream):
            return
        if kept.hung or self._is_of_hanging_rule(kept):
            self._suspect(stream, kept)
        elif self._has_room(stream, PLACES):
            self._look = look = Look(stream, kept)
            self._make(look)

    def _suspect(self, stream: Stream, kept: Kept) -> None:
        """Have it asked about beside the others."""
        with self._lock:
            self._suspects.append((stream, kept))
            begins, self._asks_suspects = not self._asks_suspects, True
        if begins and not attempt(
            "a stream could not be asked again", run_in_background, "ssemux-recheck", self._ask_suspects
        ):
            self._asks_suspects = False

    def _ask_suspects(self) -> None:
        """Begin one look after another, each of them in a thread of its own, since it may hang."""
        found = self._next_suspect()
        while found is not None:
            attempt("a stream could not be asked again", self._ask_beside, *found)
            self._breathe()
            found = self._next_suspect()

    def _ask_beside(self, stream: Stream, kept: Kept) -> None:
        if self._is_asked_about(stream) or not self._has_room(stream, PLACES // 4 if kept.hung else PLACES // 2):
            return
        look = Look(stream, kept)
        run_in_background("ssemux-recheck", self._make, look)
        look.ended.wait(self._patience * SHORT)
        look.is_left = not look.ended.is_set()

    def _next(self) -> tuple[Stream, Kept] | None:
        """The stream that is due first, which comes last from now on."""
        with self._lock:
            for stream, kept in self._kept.items():
                if kept.due > self._now:
                    break
                del self._kept[stream]
                self._kept[stream] = kept._replace(due=self._now + self._every)
                return stream, kept
        return None

    def _next_suspect(self) -> tuple[Stream, Kept] | None:
        with self._lock:
            self._asks_suspects = bool(self._suspects)
            return self._suspects.popleft() if self._suspects else None

    def _has_room(self, stream: Stream, places: int) -> bool:
        """Whether a look may begin; if not, it counts as not made."""
        running = len(self._looks)
        if running >= places:
            self._miss(stream, TimeoutError("%d looks at other streams give no answer" % running), True)
        return running < places

    def _is_asked_about(self, stream: Stream) -> bool:
        """Whether a look at this stream has begun and not ended; one that was late before is late again."""
        look = next((look for look in list(self._looks) if look.stream is stream), None)
        if look is not None and look.is_overdue:
            self._miss(stream, TimeoutError("%s still gives no answer" % look.at), True)
        return look is not None

    def _is_of_hanging_rule(self, kept: Kept) -> bool:
        hanging = {look.at for look in list(self._looks) if look.is_left}
        if not hanging:
            return False
        asked = [self._asker.rule_of(channel) for channel in kept.question.channels or ()]
        return not hanging.isdisjoint(["before_request", "identify", "allow_status", *asked])

    def _make(self, look: Look) -> None:
        self._looks.add(look)
        look.begin()
        try:
            answer = self._asker.ask(look.stream, look.kept.question, look.kept.with_before, look.reach)
        except BaseException as error:  # also gevent's Timeout, which is no Exception
            if not look.is_overdue:
                self._miss(look.stream, error, False)
        else:
            self._take(look, answer)
        finally:
            self._looks.discard(look)
            look.ended.set()

    # -- what follows ----------------------------------------------------------

    def _mind_looks(self) -> None:
        """Leave behind the look that takes long; count those that take too long as not made."""
        now = time.monotonic()
        look = self._look
        if look in self._looks and now - look.since >= self._patience:
            look.is_left = True
            self._look = self._turn = None  # its thread ends with it
        for look in self._overdue(now):
            look.is_overdue = look.is_left = True
            look.interrupt()
            error = TimeoutError("%s has not answered for %.1f s" % (look.at, now - look.since))
            run_in_background(
                "ssemux-recheck-late", self._miss, look.stream, error, True
            )  # an end may wait for the store

    def _overdue(self, now: float) -> Iterator[Look]:
        longest = min(LONGEST, self._every)
        return (look for look in list(self._looks) if not look.is_overdue and now - look.since >= longest)

    def _take(self, look: Look, answer: Answer) -> None:
        """An answer counts, however late it comes; not in a child that was forked meanwhile."""
        if answer.why is None:
            self._note(look.stream, with_before=answer.with_before)
        elif look.stream in self._kept:
            self._end(look.stream, answer.why)

    def _miss(self, stream: Stream, error: BaseException, hung: bool) -> None:
        """A look was not made: the stream stays for now."""
        self.failed += 1
        misses = self._note(stream, hung=hung, is_miss=True)
        if misses < MISSES:
            self._tell("a stream could not be asked again, and stays open", error)
        else:
            self._tell("a stream ends, since it could not be asked again %d times in a row" % misses, error)
            self._end(stream, "nobody could tell whether its user may still read it")

    def _note(self, stream: Stream, hung: bool = False, is_miss: bool = False, **known: Any) -> int:
        """Keep what is known of a stream now; how many looks in a row were not made."""
        with self._lock:
            kept = self._kept.get(stream)
            if kept is None:
                return 0
            misses = kept.misses + 1 if is_miss else 0
            self._kept[stream] = kept._replace(misses=misses, hung=hung, **known)
        return misses

    def _tell(self, what: str, error: BaseException) -> None:
        more = self._quiet.count("%s: %s" % (what, type(error).__name__), time.monotonic())
        if more is not None:
            log.error("%s: %r%s", what, error, more, exc_info=error)

    def _tell_teardown(self, error: BaseException) -> None:
        self._tell("a stream was asked again, and a teardown function failed then", error)
