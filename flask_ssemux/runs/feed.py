"""One feed that this process runs: its generator, its pauses after errors, and its end.

Whether it is wanted, and which process runs it, is decided in ``feeds.py``.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Iterator, Mapping, NamedTuple

from ..brokers import NewEvent, WorkLease
from ..errors import ApplicationError, InvalidEvent
from ..options import log
from ..util.supervise import describe_error, survive
from .batches import Batches, LeaseLost
from .fence import set_fence
from .runner import Runner
from .yields import TextMeaning, YieldReader

#: Seconds from an error of the generator to its next start; doubled with each further error up to the maximum. A
#: generator that has run for the maximum begins anew.
PAUSE, MAX_PAUSE = 1.0, 60.0

#: Seconds that the last events have to be appended when the process stops. Otherwise they wait for the store.
FLUSH_SECONDS = 1.0

#: Seconds that one pause lasts of a generator that has returned: it is not started again.
FOREVER = 3600.0


class FeedWork(NamedTuple):
    """What runs for a channel.

    :param channel: where the events are published.
    :param make: makes the generator.
    :param meaning: of the texts that it yields.
    :param linger: seconds from the end of the last reader's stream to the generator's end.
    """

    channel: str
    make: Callable[[], Any]
    meaning: TextMeaning
    linger: float


class FeedParts(NamedTuple):
    """What all feeds of an application use.

    :param batches: appends the events.
    :param make_event: makes an event of a channel, data and a name.
    :param make_context: makes the application's context.
    """

    batches: Batches
    make_event: Callable[[str, Any, str | None], NewEvent]
    make_context: Callable[[], ContextManager[Any]]


class Feed:
    """A feed whose lease this process has.

    :param on_over: called with the feed, in its own greenlet or thread, when it has ended and its events are appended.
    """

    def __init__(self, work: FeedWork, lease: WorkLease, parts: FeedParts, on_over: Callable[[Feed], None]) -> None:
        self.work = work
        self.lease = lease
        self._parts = parts
        self._on_over = on_over
        self._runner = Runner("ssemux-feed", self._run)
        self._outbox = parts.batches.open_outbox(lease)
        self._reader = YieldReader(work.meaning)
        self._pause = PAUSE
        #: The place of the last error that was logged.
        self._logged: str | None = None
        #: Whether another process has the lease, and whether this process stops.
        self.is_lost = self.is_hurried = False
        #: ``running``; ``paused`` after an error; ``ended`` when the generator returned; ``closing``.
        self.state = "running"
        #: How many times the generator was started again after an error, and the last error.
        self.restarts = 0
        self.error = ""
        #: When (monotonic time) somebody was last known to want it, and when it was first told to end.
        self.wanted_at = time.monotonic()
        self.stopped_at: float | None = None
        #: Whether it was logged that the generator does not end, and whether it has ended.
        self._is_late = self._is_finishing = False
        self.started_at = time.time()

    def start(self) -> None:
        self._runner.start()

    def stop(self, is_lost: bool = False, is_hurried: bool = False) -> None:
        """Close the generator; ``on_over`` is called when its events are appended. Returns at once.

        :param is_lost: another process has the lease.
        :param is_hurried: this process stops, so it does not wait for a store that is away.
        """
        self.is_lost = self.is_lost or is_lost
        self.is_hurried = self.is_hurried or is_hurried
        self.state = "closing"
        self.stopped_at = self.stopped_at or time.monotonic()
        self._runner.stop()

    def check_closed(self, seconds: float) -> None:
        """Log, once, if the generator is not closed so many seconds after it was told to end."""
        late = 0.0 if self.stopped_at is None else time.monotonic() - self.stopped_at
        if late > seconds and not self._is_late and not self._is_finishing:
            self._is_late = True
            log.warning(
                "the feed %r is not closed yet, %d s after it was told to end, so it cannot start again: its generator "
                "does not yield (in a thread, yield None where it waits for long), or it catches GeneratorExit",
                self.work.channel, late,
            )  # fmt: skip

    def wait(self, seconds: float) -> bool:
        """Wait until the generator is closed; return whether it is."""
        return self._runner.wait(seconds)

    def get_figures(self) -> dict[str, Any]:
        """Return what the status shows."""
        return {
            "state": self.state,
            "restarts": self.restarts,
            "error": self.error,
            "since": round(self.started_at, 3),
            "fence": self.lease.fence,
        }

    # -- in the feed's own greenlet or thread --------------------------------

    def _run(self, runner: Runner) -> None:
        try:
            while not runner.is_stopping:
                self._run_once(runner)
        finally:
            if not runner.is_copy:
                self._finish()

    def _run_once(self, runner: Runner) -> None:
        began = time.monotonic()
        try:
            runner.iterate(self._make_source, self._make_context, self._take)
        except BaseException as error:  # gevent.Timeout and SystemExit of the generator are no Exception
            self._check_end(runner, error)
            if time.monotonic() - began >= MAX_PAUSE:
                self._pause, self._logged = PAUSE, None
            self._pause_after(runner, error)
        else:
            self.state = "ended"
            while True:
                runner.pause(FOREVER)

    def _make_source(self) -> Any:
        source = self.work.make()
        if isinstance(source, (str, bytes, bytearray, Mapping)) or not hasattr(source, "__iter__"):
            raise ApplicationError(
                "the feed's function returned a value of the type %s, not a generator: write yield in it, in "
                "a function that is not async" % type(source).__name__
            )
        return source

    def _check_end(self, runner: Runner, error: BaseException) -> None:
        """Return if the generator, which had this error, is to be started again.

        :raises GeneratorExit: it was stopped, or its lease was lost, or this is a child that it has forked.
        """
        if runner.is_copy:
            raise GeneratorExit
        self.is_lost = self.is_lost or self._outbox.is_lost
        if not runner.is_stopping and not self.is_lost:
            return
        if not isinstance(error, (GeneratorExit, LeaseLost)):
            self._note_error(error, "while it was closed")
        raise GeneratorExit

    @contextmanager
    def _make_context(self) -> Iterator[None]:
        with set_fence(self.lease.fence), self._parts.make_context():
            yield

    def _pause_after(self, runner: Runner, error: BaseException) -> None:
        seconds, self._pause = self._pause, min(MAX_PAUSE, 2 * self._pause)
        self.state = "paused"
        self._note_error(error, "and is started again in %g s" % seconds)
        runner.pause(seconds)
        self.restarts += 1
        self.state = "running"
        self._reader = YieldReader(self.work.meaning)

    def _take(self, value: Any) -> None:
        """Append what was yielded. An event that is not valid is left out."""
        try:
            events = self._reader.read_yield(value)
            made = [self._parts.make_event(self.work.channel, data, name) for name, data in events]
        except InvalidEvent as error:
            self._note_error(error, "and goes on without this event")
            return
        for event in made:
            self._outbox.add_event(event)

    def _note_error(self, error: BaseException, effect: str) -> None:
        """Log an error with its traceback, unless the last one that was logged came from the same line."""
        text = error.for_log if isinstance(error, InvalidEvent) else describe_error(error)
        self.error = "%s (%s)" % (text, time.strftime("%H:%M:%S"))
        place = find_place(error)
        if place != self._logged:
            self._logged = place
            trace = None if isinstance(error, InvalidEvent) else error  # its text has the event's data
            log.error("the feed %r had an error, %s: %s", self.work.channel, effect, text, exc_info=trace)

    def _finish(self) -> None:
        """Wait until the last events are appended. Until then the lease is kept."""
        self._is_finishing = True
        self.state = "closing"
        try:
            while not self.is_lost and not self._flush() and not self.is_hurried:
                self.is_lost = self.is_lost or self._outbox.is_lost
        finally:
            self._on_over(self)

    def _flush(self) -> bool:
        try:
            return self._outbox.flush(FLUSH_SECONDS)
        except BaseException as error:  # a gevent.Timeout that the generator has left behind, for example
            survive("the last events of a feed wait for the store", error)
            return False


def find_place(error: BaseException) -> str:
    """Return an error's kind, and the line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else "%s:%d" % (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return "%s %s" % (type(error).__name__, where)
