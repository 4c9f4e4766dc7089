"""The parts of a worker that serves streams. All of them are made in one step, and none is added later.

What exists before the first stream, and what a fork and the end of the process do, is in ``worker.py``.
"""

from __future__ import annotations

import os
import time
from typing import Any, Callable, Mapping, Sequence

from ..access.reauthorize import MakeReauthorizer
from ..access.rules import Rules
from ..brokers import LEASE_SECONDS, REPORT_INTERVAL, Broker, make_random_name
from ..hub.hub import Hub
from ..hub.limits import BEGIN_TIMEOUT
from ..hub.presence import PresenceTracker
from ..hub.replay import UNUSED_SECONDS
from ..hub.revocation_handler import end_forbidden_stream
from ..hub.roster import ChangeListener
from ..hub.stream import Stream
from ..hub.stream_state import CLOSED
from ..options import Options, log
from ..runs.feeds import Feeds
from ..runs.parts import WorkParts
from ..tracing.tracing import Tracing
from ..transports.select import prepare_transports
from ..transports.wait import THREAD_FILES
from ..util.background import run_in_background
from ..util.own_logger import enable_logger
from ..util.supervise import attempt
from ..util.threads import greenlets_are_threads
from ..util.yield_control import turn_loop, yield_to_greenlets, yield_to_threads
from . import gunicorn_worker, server, shared_lag
from .admission import Admission
from .capacity import UNNOTICED, limit_by_files
from .drain import CHECK_INTERVAL, Drain
from .evict_oldest import OldestEviction, Opening
from .open_streams import OpenStreams
from .opening_queue import opening_queue
from .periodic import PeriodicTask
from .refusals import Refusals
from .report import FIRST_REPORT, Reporter
from .signals import SignalSender
from .store_guard import SHORT, StoreGuard
from .system_parts import log_missing_parts
from .timer import Timer
from .user_limit import UserLimit


class RunningWorker:
    """The started parts of one application in this process.

    :param store_guard: checks that the application may use its store.
    :param refusals: the streams that were not opened.
    :param make_reauthorizer: None if open streams are not reauthorized.
    :param rules: of the application.
    :param count_published: returns how many events the application published in this process.
    :param signals: tells the application about streams that end.
    :param presence_events: tells the application who arrives and who leaves.
    :param work_parts: what feeds and runs share.
    :param feeds: of the application in this process.
    :param tracing: makes the spans of fan-outs.
    """

    def __init__(
        self,
        options: Options,
        broker: Broker,
        store_guard: StoreGuard,
        refusals: Refusals,
        make_reauthorizer: MakeReauthorizer | None,
        rules: Rules,
        count_published: Callable[[], int],
        signals: SignalSender,
        presence_events: ChangeListener,
        work_parts: WorkParts,
        feeds: Feeds,
        tracing: Tracing,
    ) -> None:
        gunicorn_worker.find_worker()  # with preload_app and without the hook it is found in a request at the earliest
        has_greenlets = greenlets_are_threads()
        prepare_transports()
        log_missing_parts()
        yield_control = yield_to_greenlets if has_greenlets else yield_to_threads
        self.options = options
        self.broker = broker
        self._store_guard = store_guard
        self._signals = signals
        #: No other process has this name, or will have it.
        self.name = "%d-%s" % (os.getpid(), make_random_name())
        yield_in_timer = turn_loop if has_greenlets else yield_to_threads
        self.timer = Timer(options.heartbeat, time.monotonic, yield_in_timer, shared_lag.get_loop_lag())
        self.hub = Hub(broker, self.timer, options, yield_control, tracing)
        self.streams = OpenStreams(self.hub, self.timer)
        self.drain = Drain(self.streams, self.timer, options)
        self.eviction = self._make_eviction()
        self.user_limit = UserLimit(broker, options.max_streams_per_user, has_share=self.eviction is None)
        self.hub.revocations.write_user_slots = self.user_limit.write_user_slots
        self.hub.revocations.handle_work = work_parts.messages.handle_body
        self.admission = self._make_admission(1 if has_greenlets else THREAD_FILES)
        self._rules = rules
        self.presence = PresenceTracker(
            broker.presence, options.heartbeat, rules.presence.find_tracked, presence_events
        )
        self.feeds = feeds
        self.drain.on_begin.append(feeds.drain)
        self.reauthorizer = None
        if make_reauthorizer is not None:
            self.reauthorizer = make_reauthorizer(self._end_forbidden_stream, lambda: self.timer.clock(), yield_control)
            self.timer.add(self.reauthorizer, self.timer.clock())
        self.reporter = Reporter(
            self.name, broker, self.hub, self.streams, self.timer, refusals, self.reauthorizer, count_published,
            yield_control,
        )  # fmt: skip
        #: What a stream calls when it has ended; one object for all streams.
        self.on_stream_closed = self._forget_stream
        shared_lag.count_streams_of(self)
        self._start_tasks()

    def _make_admission(self, files_per_stream: int) -> Admission:
        max_streams = self.options.max_streams or limit_by_files(files_per_stream)
        capacity = server.get_capacity()
        opening_queue.limit_waiting(None if capacity is None else capacity.requests)
        return Admission(self.streams, self.user_limit, self.eviction, capacity, max_streams, self.options)

    def _end_forbidden_stream(self, stream: Stream, reason: str) -> None:
        end_forbidden_stream(stream, reason, self.hub.make_last_frame(reason))

    def count_waiting(self) -> int:
        """Return how many streams miss something while the loop is blocked; none if they are being ended anyway."""
        return 0 if self.streams.drain_reason is not None else len(self.streams)

    def _make_eviction(self) -> OldestEviction | None:
        if self.options.over_user_limit != "oldest":
            return None
        control = self.hub.revocations
        made = OldestEviction(self.broker, control.end_stream, self.options.max_streams_per_user)
        control.evict_oldest = made.handle_eviction
        return made

    def _start_tasks(self) -> None:
        now = self.timer.clock()
        for work, interval, first in (
            (self.drain.check_server, CHECK_INTERVAL, CHECK_INTERVAL),
            (self._renew_leases, LEASE_SECONDS / 3, LEASE_SECONDS / 3),
            (self.reporter.report_in_background, REPORT_INTERVAL, FIRST_REPORT),
            (self.hub.replay.forget_unused, UNUSED_SECONDS, UNUSED_SECONDS),
            (enable_logger, REPORT_INTERVAL, REPORT_INTERVAL),
        ):
            self.timer.add(PeriodicTask(work, interval), now + first)

    # -- streams that come and go ------------------------------------------

    def register_stream(
        self,
        stream: Stream,
        environ: Mapping[str, Any],
        asked: Sequence[str] | None,
        opening: Opening | None = None,
    ) -> None:
        """Make an open stream known to the presence tracker, to the eviction and to the reauthorizer.

        :param environ: of the stream's request.
        :param asked: the channels that ``authorize`` was asked for; None if ``allow_status`` was asked.
        :param opening: what the eviction knew of the stream until now.
        """
        if self._rules.presence.is_used:
            self.presence.add_stream(stream)
        if self.eviction is not None:
            self.eviction.add_stream(stream, opening)
        if self.reauthorizer is not None:
            self.reauthorizer.add_stream(stream, environ, asked)
        if self._rules.feeds.is_used:
            self.feeds.add_stream(stream, lambda: stream.state is CLOSED)

    def announce_stream(self, stream: Stream) -> None:
        """Call the receivers of ``stream_opened``. However long they take, the stream's time to begin starts then."""
        self.timer.remove(stream)
        self._signals.announce_opened(stream)
        self.timer.add(stream, self.timer.clock() + BEGIN_TIMEOUT)

    def _forget_stream(self, stream: Stream) -> None:
        self.streams.remove_stream()
        attempt("the user slot of a stream could not be released", self.user_limit.release_user_slot, stream.user_id)
        for keeper in (
            self.presence,
            self.eviction,
            self.reauthorizer,
            self.feeds if self._rules.feeds.is_used else None,
        ):
            if keeper is not None:
                attempt("a stream that has ended could not be forgotten", keeper.remove_stream, stream)
        attempt("the end of a stream could not be signaled", self._signals.announce_closed, stream)

    def limit_lifetime(self, stream: Stream, seconds: float) -> None:
        """End a stream after at most so many seconds. For servers that do not say when a client has left."""
        now = self.timer.clock()
        if stream.ends_at is not None and stream.ends_at <= now + seconds:
            return
        stream.ends_at, stream.last_frame = now + seconds, self.hub.make_last_frame(UNNOTICED)
        self.timer.remove(stream)
        self.timer.add(stream, min(now + seconds, now + self.options.heartbeat / 2))

    # -- periodic work, in the background: a store that is busy must not delay heartbeats ---

    def _renew_leases(self) -> None:
        run_in_background("ssemux-leases", self.broker.leases.renew_leases)
        run_in_background("ssemux-store", self.check_store)

    def check_store(self) -> None:
        """Register the application in the store again; end all streams if another application has the store now."""
        trouble = self._store_guard.renew_registration()
        if trouble:
            log.error("%d streams are ended: %s", len(self.streams), trouble)
            for stream in self.hub.list_streams():
                self.hub.end_stream(stream, SHORT)

    # -- the end ------------------------------------------------------------

    def stop(self) -> None:
        """End all streams at once and stop the timer. For an application that ends before its process, as in tests."""
        self.streams.abort("its application ends")
        self.timer.stop()
        self.feeds.drain()
        shared_lag.forget_streams_of(self)

    def disown(self) -> None:
        """In a forked child: what the parent opened is the parent's."""
        self.streams.disown()
        self.timer.stop()
        if self.reauthorizer is not None:
            self.reauthorizer.disown()
