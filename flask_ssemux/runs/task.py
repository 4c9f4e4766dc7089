"""One run in the process that executes it: from what its generator yields to its last event.

Which runs a process has, and who may start one, is not known here. No store: events go into an ``Outbox``.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Callable, ContextManager, Iterable

from ..brokers import RUN_PREFIX, NewEvent, WorkLease
from ..errors import InvalidEvent, RunFailed
from ..options import log
from ..util.supervise import describe_error, is_end, survive
from .batches import LeaseLost, Outbox
from .details import CANCELLED, DONE, FAILED, LOST, RunDetails, make_end_body, read_reason
from .fence import set_fence
from .runner import Runner
from .yields import YieldReader

#: Returns the body of an event, or the event: of its channel, its data and its name.
MakeBody = Callable[[str, Any, "str | None"], bytes]
MakeEvent = Callable[[str, Any, "str | None"], NewEvent]

#: Seconds that the last event has to get into the store when the process ends.
END_SECONDS = 1.0


class RunTask:
    """Executes a generator, once.

    :param make_source: returns the generator. It is called in the run's thread, within ``make_context``.
    :param outbox: takes its events.
    :param make_context: returns the application's context, in which the generator runs.
    :param on_end: called with this task when it has ended.
    """

    def __init__(
        self,
        make_source: Callable[[], Iterable[Any]],
        outbox: Outbox,
        details: RunDetails,
        make_event: MakeEvent,
        make_context: Callable[[], ContextManager[Any]],
        on_end: Callable[[RunTask], None],
    ) -> None:
        self._make_source = make_source
        self._outbox = outbox
        self.details = details
        self._make_event = make_event
        self._make_context = make_context
        self._on_end = on_end
        self._reader = YieldReader()
        self._runner = Runner("ssemux-run", self._work)
        #: The state with which the run has ended; None while it runs.
        self.state: str | None = None
        self.ended = threading.Event()
        #: The state with which it has to end, whatever its generator does.
        self._wanted: str | None = None
        #: Whether another process goes on with the run, or has ended it.
        self._is_lost = False
        #: Whether another process will go on with the run.
        self._is_left = False
        #: When (monotonic time) the generator was first told to end, and whether it was logged that it does not.
        self._stopped_at: float | None = None
        self._is_late = False

    @property
    def lease(self) -> WorkLease:
        """The lease under which its events are appended."""
        return self._outbox.lease

    @property
    def channel(self) -> str:
        """The channel of its events."""
        return self._outbox.lease.name

    @property
    def run_id(self) -> str:
        return self.channel[len(RUN_PREFIX) :]

    @property
    def has_lease(self) -> bool:
        """Whether it goes on under its lease; False while the generator of a run that was lost has yet to end."""
        return not self._outbox.is_lost

    @property
    def is_ending(self) -> bool:
        """Whether its last event is on its way into the store."""
        return self._outbox.end_state is not None

    def start(self) -> None:
        """Begin to execute the generator."""
        self._runner.start()

    def cancel(self) -> None:
        """Close the generator: at its next yield, and under gevent also where it sleeps or waits for a socket."""
        self._stop(CANCELLED)

    def lose(self) -> None:
        """Close the generator, and publish nothing: another process goes on with the run, or has ended it."""
        self._is_lost = True
        self._outbox.drop()
        self._stop_generator()

    @property
    def can_resume(self) -> bool:
        """Whether another process can go on with the run."""
        return self.details.resume is not None

    def begin_end(self) -> None:
        """This process ends: close the generator. ``give_up`` follows. A run that another process can go on with is
        left to it."""
        self._is_left = self.can_resume
        self._stop(LOST)

    def give_up(self, deadline: float) -> None:
        """End the run as lost, unless it is left to another process.

        :param deadline: when (monotonic time) the generator must have ended. If it has not, the run ends without it.
        """
        is_over = self.ended.wait(max(0.0, deadline - time.monotonic())) or self._is_lost
        if not is_over and not self._is_left:
            self._publish_end(LOST, None, END_SECONDS)
        self._is_lost = True
        self._outbox.drop()

    def _stop(self, state: str) -> None:
        self._wanted = self._wanted or state
        self._stop_generator()

    def _stop_generator(self) -> None:
        self._stopped_at = self._stopped_at or time.monotonic()
        self._runner.stop()

    def check_closed(self, seconds: float) -> None:
        """Log, once, if the generator is not closed so many seconds after it was told to end."""
        late = 0.0 if self._stopped_at is None else time.monotonic() - self._stopped_at
        if late > seconds and not self._is_late and not self.is_ending:
            self._is_late = True
            log.warning(
                "the run %s is not closed yet, %d s after it was told to end, so its readers still wait: its generator "
                "does not yield (in a thread, yield None where it waits for long), or its clean-up takes long",
                self.run_id, late,
            )  # fmt: skip

    # -- the run's thread ----------------------------------------------------

    def _work(self, runner: Runner) -> None:
        state, reason = self._produce(runner)
        if runner.is_copy:
            return
        try:
            self.state = self._end(state, reason)
        finally:
            self.state = self.state or LOST
            self._on_end(self)
            self.ended.set()

    def _end(self, state: str, reason: str | None) -> str:
        """Publish the run's end, if that is up to this process; return the state in which it has ended here."""
        if self._is_left:
            self._wait_for_store(self._outbox.flush)
            state = LOST
        elif self._is_lost or not self._wait_for_store(lambda: self._publish_end(state, reason)):
            state = LOST
        if state == LOST and self._wanted != LOST:
            log.error("the run %s was stopped: another process took it over, or the store has lost it", self.run_id)
        return state

    def _wait_for_store(self, wait: Callable[[], bool]) -> bool:
        """Wait, and go on waiting after a ``gevent.Timeout`` that the generator has left behind, for example."""
        while True:
            try:
                return wait()
            except BaseException as error:
                survive("the end of a run waits for the store", error)

    def _produce(self, runner: Runner) -> tuple[str, str | None]:
        """Run the generator to its end; return the run's state, and the reason that its readers get."""
        try:
            with set_fence(self.lease.fence):
                runner.iterate(self._make_source, self._make_context, self._take)
        except RunFailed as error:
            return self._wanted or FAILED, read_reason(error)
        except LeaseLost:
            self._is_lost = True
            return LOST, None
        except BaseException as error:
            if not runner.is_copy and (self._wanted is None or not is_end(error)):
                self._log_failure(error)
            return self._wanted or FAILED, None
        return self._wanted or DONE, None

    def _take(self, value: Any) -> None:
        channel = self._outbox.lease.name
        for name, data in self._reader.read_yield(value):
            self._outbox.add_event(self._make_event(channel, data, name))

    def _publish_end(self, state: str, reason: str | None, timeout: float | None = None) -> bool:
        """Append the run's last event. While the store is away, this waits."""
        return self._outbox.end_run(state, [NewEvent(self.channel, make_end_body(state, reason))], timeout)

    def _log_failure(self, error: BaseException) -> None:
        """Log the error with its traceback; that of an invalid event quotes the event's data, which no log may have."""
        if isinstance(error, InvalidEvent):
            log.error("the run %s failed: it yielded an invalid event: %s", self.run_id, error.for_log)
        else:
            log.error("the run %s failed: %s", self.run_id, describe_error(error), exc_info=error)
