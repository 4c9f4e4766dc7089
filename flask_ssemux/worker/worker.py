"""One application in this process: its broker connection and, once it serves streams, its running parts.

Nothing is opened before it is needed. A process that only builds the application opens no file and starts no thread. A
process that only publishes opens the broker connection. ``Worker.running`` starts all other parts in one step. What a
fork and the end of the process do is also here. No requests, no rules.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from enum import Enum
from typing import Any, Callable, Mapping

from flask import Flask

from ..access.reauthorize import MakeReauthorizer
from ..access.rules import Rules
from ..brokers import Broker, HistoryLimits, NewEvent, open_broker
from ..errors import ConfigurationError
from ..options import Options, log
from ..runs.feed import FeedParts
from ..runs.feeds import Feeds
from ..runs.parts import WorkParts
from ..tracing.tracing import Tracing
from ..transports.select import count_handed_over
from ..util import forks, threads
from ..util.once import OncePerProcess
from ..util.own_logger import enable_logger
from ..util.supervise import attempt
from . import gunicorn_worker
from .drain import DRAIN_SECONDS
from .finish_runs import FinishRuns
from .presence_events import PresenceEvents
from .refusals import Refusals
from .running import RunningWorker
from .serving_process import ServingProcesses
from .signals import SignalSender
from .store_guard import StoreGuard

#: Seconds that generators of feeds have to end before their leases are given back. In threads they end at a yield.
FEED_SECONDS = 1.0

#: Why events of the memory broker do not arrive.
ELSEWHERE = (
    "SSEMUX_BROKER=%r stays in one process, and %s the application's streams, such as a live server that was forked "
    "for a test: its clients receive nothing of what this process publishes; publish there, for example by a request, "
    "or use 'sqlite:' (the default)"
)


class WorkerState(Enum):
    """The life of a worker, in this order."""

    #: It has not been asked for a stream yet.
    NEW = "new"
    RUNNING = "running"
    #: Its streams end, because the process is about to stop.
    DRAINING = "draining"
    CLOSED = "closed"


class Worker:
    """One application in this process.

    :param options: of the application.
    :param rules: of the application.
    :param store: the name of the application's store; "" if no other application can use it by accident.
    :param make_reauthorizer: None if open streams are not reauthorized.
    """

    def __init__(
        self,
        app: Flask,
        options: Options,
        rules: Rules,
        store: str = "",
        make_reauthorizer: MakeReauthorizer | None = None,
    ) -> None:
        self._app = app
        self.options = options
        self.folder = app.instance_path
        self._rules = rules
        self._make_reauthorizer = make_reauthorizer
        self.tracing = Tracing(options.tracing == "auto", rules.find_template)
        self.refusals = Refusals()
        self.store_guard = StoreGuard(app, store, lambda: self.broker)
        self.signals = SignalSender(app)
        #: Publishes who arrives and who leaves; set by the application's state.
        self.presence_events = PresenceEvents(rules.presence, lambda *_, **__: None, self.signals)
        #: Makes an event of a channel, data and a name; set by the application's state.
        self.make_event: Callable[[str, Any, str | None], NewEvent] = lambda *_: NewEvent("", b"")
        #: Returns how many events this process's application published; set by the application's state.
        self.published: Callable[[], int] = lambda: 0
        #: What feeds and runs share. Until there are any, it does nothing.
        self.work_parts = WorkParts(lambda: self.broker)
        #: Waits for the runs of this process before it ends; set by the application's state.
        self.finish_runs: FinishRuns | None = None
        #: Each returns more figures for the report of this process.
        self.more_figures: list[Callable[[], Mapping[str, Any]]] = [self._get_feed_figures]
        self._broker = OncePerProcess(self._open_broker, threads.make_native_lock)
        self._running = OncePerProcess(self._start, threading.RLock)
        #: Returns the started parts of this process; the first call starts them.
        self.running: Callable[[], RunningWorker] = self._running.get
        self._is_closed = False
        #: Which processes serve streams, if the broker's events stay in one process.
        self._serving = ServingProcesses() if options.broker.startswith("memory:") else None
        self._has_warned = False
        #: Whether this is a forked child whose parent has streams, and which has not been asked for one itself.
        self._parent_has_streams = False
        _workers.add(self)
        forks.register_owner(self)

    @property
    def state(self) -> WorkerState:
        running = self._running.value
        if self._is_closed:
            return WorkerState.CLOSED
        if running is None:
            return WorkerState.NEW
        return WorkerState.DRAINING if running.drain.has_begun else WorkerState.RUNNING

    @property
    def broker(self) -> Broker:
        """The broker connection of this process; the first access opens it."""
        return self._broker.get()

    def _open_broker(self) -> Broker:
        options = self.options
        history = HistoryLimits(options.history_seconds, options.history_events, options.history_bytes)
        made = open_broker(options.broker, history, self.folder, options.namespace)
        if self._parent_has_streams and not made.is_shared:
            raise ConfigurationError(
                "SSEMUX_BROKER=%r stays in one process, and this one was forked from the process that has the streams: "
                "none of them would receive what is published here; publish from the parent, or use 'sqlite:' (the "
                "default)" % options.broker
            )
        return made

    def _start(self) -> RunningWorker:
        enable_logger()
        self._parent_has_streams = False
        made = RunningWorker(
            self.options, self.broker, self.store_guard, self.refusals, self._make_reauthorizer, self._rules,
            lambda: self.published(), self.signals, self.presence_events, self.work_parts, self._make_feeds(),
            self.tracing,
        )  # fmt: skip
        made.reporter.more_figures = self.more_figures
        if self.finish_runs is not None:
            made.drain.on_begin.append(self.finish_runs.begin)
            self.finish_runs.runs.watch.look_for_lost()
            self.finish_runs.runs.watch.look_once()
        if self._serving is not None:
            self._serving.note_own()
            made.drain.on_begin.append(self._serving.forget_own)
        return made

    def _make_feeds(self) -> Feeds:
        parts = self.work_parts
        feed_parts = FeedParts(parts.batches, self.make_event, self._app.app_context)
        return Feeds(self._rules.feeds.find_work, parts, feed_parts, self.options.max_feeds)

    def _get_feed_figures(self) -> Mapping[str, Any]:
        running = self._running.value
        return running.feeds.get_figures() if running is not None and self._rules.feeds.is_used else {}

    def check_publishing(self) -> None:
        """Make sure that somebody receives what is published now, and that it reaches only this application's streams.

        :raises ConfigurationError: nobody would receive it, or another application uses the store.
        :raises BrokerUnavailable: the store does not answer.
        """
        self.store_guard.check_publishing()
        other = None if self._serving is None else self._serving.find_other()
        if self._parent_has_streams:
            return  # the broker is not opened, and says why
        if other is not None and self._running.value is None:
            raise ConfigurationError(ELSEWHERE % (self.options.broker, "the process %d serves" % other))
        if other is not None and not self._has_warned:
            self._has_warned = True
            log.warning("%s", ELSEWHERE % (self.options.broker, "the process %d also serves" % other))

    def end_readers(self, channel: str, frame: bytes) -> None:
        """Send the end of a run to the streams that read its channel here and missed it. A replay contains it."""
        running = self._running.value
        if running is not None:
            streams = [stream for stream in running.hub.list_subscribers(channel) if not stream.has_replay_left()]
            running.hub.send_frame(streams, frame)

    def count_streams(self) -> int:
        """Return how many streams are open or being opened."""
        running = self._running.value
        return 0 if running is None else len(running.streams)

    def is_busy(self) -> bool:
        """Return whether streams are open, or receivers of signals have yet to be called."""
        return bool(self.count_streams() or len(self.signals))

    @property
    def held(self) -> int:
        """What ``count_streams`` returns, by its name in earlier versions."""
        return self.count_streams()

    def drain(self) -> None:
        """End every stream cleanly, if there can be any; see ``Drain.begin``."""
        running = self._running.value
        if running is not None:
            running.drain.begin()

    def close(self) -> None:
        """Leave the store, and close the broker."""
        self._is_closed = True
        if self._serving is not None:
            self._serving.forget_own()
        self.store_guard.remove_from_process()
        if self._running.value is not None:
            self._running.value.reporter.stop()
            self._running.value.feeds.drain()
            self._running.value.feeds.wait(FEED_SECONDS)
        if self._broker.value is not None:
            self._broker.value.close()

    def stop(self) -> None:
        """End all streams at once, and close. For an application that ends before its process, as in tests."""
        self._is_closed = True  # so that nobody opens a stream again whose stream ends
        if self._running.value is not None:
            self._running.value.stop()
        self.close()

    def disown(self) -> None:
        """In a forked child: what the parent opened is the parent's. What is needed here is made again."""
        running = self._running.value
        _inherited.append((self._broker.value, running))  # closing them here would harm the parent
        if running is not None:
            self._parent_has_streams = len(running.hub) > 0
            running.disown()
        self._broker.forget()
        self._running.forget()
        self.signals.disown()
        self._is_closed = self._has_warned = False


_workers: weakref.WeakSet[Worker] = weakref.WeakSet()

#: Objects of a parent process that a forked child keeps, so that the garbage collector does not close them.
_inherited: list[Any] = []


def end_all_workers() -> None:
    """Drain and close all workers of this process. A second call does nothing.

    Most workers are drained by now. But a gunicorn worker whose master is gone stops without a warning, and no server
    waits until the last bytes of streams that were handed over are sent.
    """
    workers = [worker for worker in list(_workers) if worker.state is not WorkerState.CLOSED]
    for worker in workers:
        attempt("the streams of an application could not be ended", worker.drain)
    # Without gunicorn, a stream may have a client that neither reads nor closes it, as in a test. It is not waited for.
    deadline = time.monotonic() + (DRAIN_SECONDS + 1.0 if gunicorn_worker.find_worker() is not None else 0.5)
    while (any(worker.is_busy() for worker in workers) or count_handed_over()) and time.monotonic() < deadline:
        time.sleep(0.01)
    for worker in workers:
        if worker.finish_runs is not None:
            attempt("the runs of an application could not be ended", worker.finish_runs.finish)
    for worker in workers:
        attempt("the broker of an application could not be closed", worker.close)


atexit.register(end_all_workers)
