"""What lives as long as a process: its broker, heart and mux; start, fork, drain, exit.

Parts are made when they are first needed, in the process that needs them, so that
a master which only builds the application opens no file and starts no thread.
No requests, no rules.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import platform
import sys
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import Any, Callable, Mapping, Protocol, Sequence

from ..access.reauthorize import Reauthorizer
from ..brokers import Broker, History, open_broker
from ..brokers.base import HOLD_SECONDS, REPORT_SECONDS, new_epoch
from ..errors import ConfigurationError
from ..hub import replay
from ..hub.hub import Hub
from ..hub.presence import PresenceTracker
from ..hub.revocation_handler import end
from ..hub.stream import BEGIN, Stream
from ..options import Options, log
from ..transports.select import handed_over, prepare
from ..transports.wait import THREAD_FILES, greenlets_are_threads
from ..util import forks, threads
from ..util.background import run_in_background
from ..util.log_throttle import LogThrottle
from ..util.supervise import attempt
from . import server
from .capacity import UNKNOWN, UNNOTICED, ServerCapacity
from .evict_oldest import OldestEviction
from .loop_lag import LoopLag, Watcher
from .stream_stats import StreamStats, memory
from .tenancy import SHORT, Tenancy
from .timer import Member, Timer
from .user_limit import UserLimit

#: What streams, and clients that ask for one, are told when the worker goes.
STOPPING = "this worker stops"

#: Seconds between two looks at whether the worker was told to stop.
LEAVING = 0.25

#: Seconds from a process's first stream to its first report.
FIRST_REPORT = 1.0

#: Reports of which time, streams and deliveries are kept, for who comes to look: ten minutes of them.
PAST = int(600 / REPORT_SECONDS)

#: Seconds in which a slot may become free where streams are handed over: one that is being opened has it for a moment.
HAND_OVER = 1.0

#: Seconds that clients have to take the end of their stream; then the worker waits for them no longer.
DRAIN = 3.0


class Worker:
    """The parts of one application in this process.

    :param options: from which they are built.
    :param folder: the application's instance folder.
    :param is_tracked: whether others may ask who is on a channel.
    """

    def __init__(self, options: Options, folder: str, is_tracked: Callable[[str], bool] = lambda _: False) -> None:
        self.options = options
        self.folder = folder
        self._is_tracked = is_tracked
        self._making = threading.RLock()
        self._opening_broker = threads.make_real_lock()
        self._broker: Broker | None = None
        self._hub: Hub | None = None
        self._guests: set[WrappedStream] = set()
        #: Those that have a place and not begun yet; some never do, as when a request fails after its view.
        self._expected: weakref.WeakSet[WrappedStream] = weakref.WeakSet()
        self._opening = 0
        self._counting = threading.Lock()
        self._refused = LogThrottle()
        #: Asks open streams again, where that is wanted; set by the extension.
        self.recheck: Reauthorizer | None = None
        #: Whether the application may use its store; set by the extension.
        self.tenancy: Tenancy | None = None
        self._elders: OldestEviction | None = None
        self.is_closed = False
        #: Of all its streams; a test's may stand still.
        self.clock: Callable[[], float] = time.monotonic
        #: Events that this process's application published; its service knows.
        self.published: Callable[[], int] = lambda: 0
        #: Whether this is a forked child, and its parent had streams.
        self._was_heard = False
        _processes.add(self)
        forks.follow(self)

    @property
    def broker(self) -> Broker:
        forks.notice_fork()
        if self._broker is None:
            with self._opening_broker:
                if self._broker is None:
                    self._broker = self._open_broker()
        return self._broker

    def _open_broker(self) -> Broker:
        options = self.options
        history = History(options.history_seconds, options.history_events, options.history_bytes)
        made = open_broker(options.broker, history, self.folder, options.namespace)
        if self._was_heard and not made.is_shared:
            raise ConfigurationError(
                "SSEMUX_BROKER=%r stays in one process, and this one was forked from the process that has the streams: "
                "nobody would read what is published here; publish from the parent, or use 'sqlite:' (the default)"
                % options.broker
            )
        return made

    @property
    def hub(self) -> Hub:
        forks.notice_fork()
        if self._hub is None:
            with self._making:
                if self._hub is None:
                    self._build()
        assert self._hub is not None
        return self._hub

    def _build(self) -> None:
        self._was_heard = False  # the child has streams of its own
        server.worker()  # found now, in a request: with preload_app and no hook it was not among our callers before
        options, broker = self.options, self.broker
        gevent = greenlets_are_threads()
        if gevent:
            prepare()
        breathe = self._breathe = _breathe_greenlets if gevent else _breathe_threads
        #: Tells it from all that had, or will have, its process id.
        self._name = "%d-%s" % (os.getpid(), new_epoch())
        self._past: deque[tuple[int, int, int]] = deque(maxlen=PAST)
        self.timer = Timer(options.heartbeat, lambda: self.clock(), _turn_loop if gevent else breathe, self._pulse())
        places = self.places = UserLimit(broker, options.max_streams_per_user)
        attendance = self.attendance = PresenceTracker(broker, options.heartbeat, self._is_tracked)
        self.max_streams = options.max_streams or server.stream_files(1 if greenlets_are_threads() else THREAD_FILES)
        self._slots = server.slots()
        #: Of all applications here. A number that the option says may take all slots but one, which is for pages.
        self._max_in_slots = _most_in(self._slots, options.max_streams)
        hub = Hub(broker, self.timer, options, breathe)
        if options.over_user_limit == "oldest":
            self._elders = OldestEviction(broker, hub.control.end, options.max_streams_per_user)
            hub.control.replace = self._elders.replace
        recheck, elders = self.recheck, self._elders

        def left(stream: Stream) -> None:
            attempt("a stream's place could not be given back", places.leave, stream.user_id)
            for keeper in (attendance, elders, recheck):
                if keeper is not None:
                    attempt("a stream that has ended could not be forgotten", keeper.left, stream)

        #: What a stream calls when it is no more; one object for all.
        self.on_closed: Callable[[Stream], None] = left
        if recheck is not None:
            recheck.begin(lambda stream, why: end(stream, why, hub.farewell(why)), self.timer.clock, breathe)
            self.timer.add(recheck, self.timer.clock())
        self._hub = hub
        for work, every, first in (
            (self._watch_server, LEAVING, LEAVING),
            (self._renew_places, HOLD_SECONDS / 3, HOLD_SECONDS / 3),
            (self._report, REPORT_SECONDS, FIRST_REPORT),
            (self._hub.replay.forget_unused, replay.SECONDS, replay.SECONDS),
        ):
            self.timer.add(_Chore(work, every), self.timer.clock() + first)

    def _pulse(self) -> LoopLag:
        options = self.options
        margin = " (heartbeats are due every %g s, clients wait %g s)" % (options.heartbeat, options.client_timeout)
        return LoopLag(self._waiting, _watcher if greenlets_are_threads() else None, margin)

    def _waiting(self) -> int:
        """Streams that miss something while the loop is blocked; none of a worker that sends them elsewhere anyway."""
        return 0 if self._hub is None or self._hub.is_draining else self.held

    def _why_full(self) -> str | None:
        """Why this process takes no stream more; None if it does. Asked while nobody else counts."""
        if self.hub.is_draining:
            return STOPPING
        if self.held >= self.max_streams:
            return "this worker holds %d streams, its most (SSEMUX_MAX_STREAMS)" % self.max_streams
        if self._is_crowded():
            assert self._slots is not None
            return "this worker serves %d streams, the most of %s with %s" % (
                self._max_in_slots, self._slots.server, self._slots.setting
            )  # fmt: skip
        return None

    def _is_crowded(self) -> bool:
        """Whether streams have all the slots that they may."""
        _ = self.hub  # which finds out how many there are
        return self._slots is not None and _in_slots() >= self._max_in_slots

    @property
    def held(self) -> int:
        """Streams that are open here, old ones and those that are just being opened included."""
        old = len(self._guests) + len(self._expected)
        return (0 if self._hub is None else len(self._hub)) + old + self._opening

    def take_place(self, user_id: str | None, is_handed_over: bool = False) -> str | None:
        """Take a place for one stream more, here and of its user's; why there is none, or None.

        Whoever took one says ``opened``, once its stream is open or is not.

        :param is_handed_over: it will need its slot for a moment only, as those that have one now.
        :raises BrokerUnavailable: nobody can tell.
        """
        deadline = time.monotonic() + (HAND_OVER if is_handed_over else 0.0)
        while self._is_crowded() and time.monotonic() < deadline:
            forks.sleep(0.01)
        trouble = self._count_in()
        if trouble:
            return trouble
        try:
            if not self._take_of_users(user_id):
                trouble = "this user holds %d streams, the most (SSEMUX_MAX_STREAMS_PER_USER)" % self.places.limit
            elif self.hub.is_draining:  # meanwhile: counting may have waited
                self.places.leave(user_id)
                trouble = STOPPING
        except BaseException:
            self.opened()
            raise
        if trouble:
            self.opened()
        return trouble

    def _take_of_users(self, user_id: str | None) -> bool:
        """Take one of the user's places; where that is wanted, the one of their oldest stream."""
        if self.places.take(user_id):
            return True
        if self._elders is None or user_id is None:
            return False
        return self._elders.take_over(user_id, lambda: self.places.take(user_id))

    def joined(self, stream: Stream, environ: Mapping[str, Any], asked: Sequence[str] | None) -> None:
        """A stream was opened.

        :param environ: of its request.
        :param asked: its channels that ``authorize`` was asked for; None: ``allow_status`` was.
        """
        self.attendance.came(stream)
        if self._elders is not None:
            self._elders.joined(stream)
        if self.recheck is not None:
            self.recheck.joined(stream, environ, asked)

    def _count_in(self, guest: WrappedStream | None = None) -> str | None:
        """Count one more, if there is room; why not, or None."""
        _ = self.hub  # made now: nothing may wait where several threads would find the last place free
        with self._counting:
            trouble = self._why_full()
            if trouble:
                return trouble
            if guest is None:
                self._opening += 1
            else:
                self._expected.add(guest)
        return None

    def limit_life(self, stream: Stream, seconds: float) -> None:
        """End a stream after so many seconds, where nobody would notice that its client has left."""
        now = self.timer.clock()
        if stream.ends_at is not None and stream.ends_at <= now + seconds:
            return
        stream.ends_at, stream.farewell = now + seconds, self.hub.farewell(UNNOTICED)
        self.timer.remove(stream)
        self.timer.add(stream, min(now + seconds, now + self.options.heartbeat / 2))

    def opened(self) -> None:
        """The stream whose place was taken counts for itself now, or there will be none."""
        with self._counting:
            self._opening -= 1

    def refused(
        self, why: str, how: str = "was sent away", level: int = logging.WARNING, error: Exception | None = None
    ) -> None:
        """A stream was not opened: counted, and said once a minute.

        :param error: what the line says instead of why.
        """
        more = self._refused.count(why, time.monotonic())
        if more is not None:
            log.log(level, "a stream %s: %s%s", how, error or why, more)

    def take_guest(self, guest: WrappedStream) -> str | None:
        """Take a place for an old stream, which the mux does not feed, until it left; why there is none, or None.

        One that does not begin within ``BEGIN`` seconds has no place: what ran after its view failed.
        """
        trouble = self._count_in(guest)
        if trouble is None:
            self.timer.add(_Chore(partial(self._expect_no_more, weakref.ref(guest))), self.timer.clock() + BEGIN)
        return trouble

    def _expect_no_more(self, reference: weakref.ref[WrappedStream]) -> None:
        guest = reference()
        if guest is not None:
            self._expected.discard(guest)

    def guest_came(self, guest: WrappedStream, due: float) -> None:
        """It begins: give it the heart's looks."""
        self._guests.add(guest)
        self._expected.discard(guest)
        self.timer.add(guest, due)
        if self.hub.is_draining:  # begun while it was being opened
            guest.leave(self.hub.farewell(STOPPING))

    def guest_left(self, guest: WrappedStream) -> None:
        """It has ended; more than once is fine."""
        self._guests.discard(guest)
        self._expected.discard(guest)
        self.timer.remove(guest)

    def drain(self) -> None:
        """End every stream cleanly; cut off, after ``DRAIN`` seconds, those whose clients do not take it."""
        if self._hub is None or self._hub.is_draining:
            return
        # gunicorn ends a worker that was blocked for too long; then this is the heart's last turn.
        self.timer.pulse.turn(self.timer.clock())
        log.info("the worker stops: %d streams are sent elsewhere", self.held)
        self._hub.drain(STOPPING)
        for guest in list(self._guests):
            attempt("an old stream could not be ended", guest.leave, self._hub.farewell(STOPPING))
        self.timer.add(_Chore(self._cut), self.timer.clock() + DRAIN)

    def _cut(self, why: str = "its client did not take its end") -> None:
        self.hub.cut(why)
        for guest in list(self._guests):
            attempt("an old stream could not be ended", guest.cut)

    def close(self) -> None:
        """Let go of everything; the store is left tidy."""
        self.is_closed = True
        if self.tenancy is not None:
            self.tenancy.leave()
        if self._broker is not None:
            self._broker.close()

    def guests(self) -> list[WrappedStream]:
        """The old streams that are open."""
        return list(self._guests)

    def end(self) -> None:
        """For good, where the application ends before its process, as in tests."""
        if self._hub is not None:
            self._cut("its application ends")
            self.timer.forget()
        self.close()

    def disown(self) -> None:
        """In a forked child: what the parent opened is the parent's; what is needed here is made anew."""
        _inherited.append((self._broker, self._hub))  # closing it here would harm the parent
        if self._hub is not None:
            self._was_heard = len(self._hub) > 0
            self._hub.disown()
            self.timer.forget()
        for guest in [*self._guests, *self._expected]:
            guest.disown()
        self._broker = self._hub = self._elders = None
        if self.recheck is not None:
            self.recheck.forget()
        if self.tenancy is not None:
            self.tenancy.forget()
        self._guests = set()
        self._expected = weakref.WeakSet()
        self._opening = 0
        self._counting = threading.Lock()
        self._refused = LogThrottle()
        self.is_closed = False
        self._making = threading.RLock()
        self._opening_broker = threads.make_real_lock()

    def _watch_server(self) -> None:
        if server.is_leaving():
            self.drain()

    # In threads of their own: a store that is busy must not hold up a heartbeat.

    def _renew_places(self) -> None:
        run_in_background("ssemux-places", self.broker.leases.renew_leases)
        run_in_background("ssemux-store", self._keep_store)

    def _keep_store(self) -> None:
        """Register the application again; end all streams if another application has the store now."""
        trouble = self.tenancy.renew() if self.tenancy is not None else ""
        if trouble and self._hub is not None:
            log.error("%d streams are ended: %s", self.held, trouble)
            for stream in self._hub.streams():
                self._hub.end(stream, SHORT)

    def _report(self) -> None:
        hub = self._hub
        if hub is not None and not self.is_closed:
            self._past.append((int(time.time()), self.held, hub.delivered))
            run_in_background("ssemux-report", self._tell, hub)

    def _tell(self, hub: Hub) -> None:
        hub.broker.reports.write_report(self.figures(hub))  # not this process's: a fork may come in between

    def figures(self, hub: Hub) -> dict[str, Any]:
        """What this process says of itself to the others, for ``status/``. Lets others run meanwhile."""
        from .. import __version__  # made last of all

        census, pulse = StreamStats(self.timer.clock, self._breathe), self.timer.pulse
        census.streams(hub.streams())
        census.others(guest.sent_at for guest in list(self._guests))
        counted = census.figures(hub.channels())
        return {
            **counted,
            "name": self._name,
            "version": __version__,
            "pid": os.getpid(),
            "host": platform.node(),
            "started": _started[0],
            "at": round(time.time(), 3),
            "streams": self.held,
            "handed_over": handed_over(),
            "delivered": hub.delivered,
            "refused": sum(self._refused.counts.values()),
            "refused_why": self._refused.counts,
            "recheck_failed": self.recheck.failed if self.recheck is not None else 0,
            "published": self.published(),
            "waiting": self.broker.waiting_calls,
            "late": pulse.late,
            "longest_late": round(pulse.longest, 3),
            "memory": memory(),
            "past": list(self._past),
        }


class WrappedStream(Member, Protocol):
    """A stream that the mux does not feed: an old generator's."""

    @property
    def sent_at(self) -> float:
        """When something last went out."""

    def leave(self, last: bytes) -> None:
        """Say this, and end."""

    def cut(self) -> None:
        """End at once."""

    def await_beat(self) -> None:
        """Until a heartbeat that is being written is."""

    def disown(self) -> None:
        """In a forked child: it is the parent's."""


class _Chore:
    """Something done by the heart's clock: every so many seconds as long as the process lives, or once."""

    def __init__(self, work: Callable[[], None], every: float | None = None) -> None:
        self.slot: int | None = None
        self._work = work
        self.every = every

    def beat(self, now: float) -> float | None:
        self._work()
        return None if self.every is None else now + self.every


def _watcher(pulse: LoopLag) -> Watcher:
    from .watchdog import Watchdog

    return Watchdog(pulse)


def _breathe_greenlets() -> None:
    """Let every greenlet run that is ready now, and then what has come in: requests, and clients' ends."""
    forks.sleep(0)  # the hub takes them in the order they were woken
    _turn_loop()


def _turn_loop() -> None:
    """Let gevent's loop turn once. In a flood of requests thousands of greenlets are ready; not all are waited for."""
    from gevent import get_hub

    # It takes fifty turns of ready greenlets before it looks at the sockets; it looks before it calls an idle watcher.
    # Of the highest priority, or a busy loop would never call it.
    hub, born = get_hub(), forks.generation
    watcher = hub.loop.idle()
    watcher.priority = hub.loop.MAXPRI
    try:
        hub.wait(watcher)
    finally:
        watcher.close()
    forks.halt_copy(born)


def _breathe_threads() -> None:
    time.sleep(0.001)


def _most_in(slots: ServerCapacity | None, wanted: int | None) -> int:
    """How many streams may take slots; what is less than a user may expect is told."""
    if slots is None:
        return sys.maxsize
    if slots.most == 1:
        return 0  # streams are refused, and the log says why
    if wanted is None:
        if not slots.is_plenty:
            log.warning("%s", slots.told)
        return slots.for_streams
    if wanted >= slots.most and not slots.is_plenty:
        log.warning("SSEMUX_MAX_STREAMS=%d is out of reach: %s", wanted, slots.told)
    elif not slots.notices:
        log.warning("%s", slots.told)
    return slots.most if slots.most == UNKNOWN else min(wanted, slots.most - 1)


def _in_slots() -> int:
    """Streams that take a slot of the server each; those that were handed over take none."""
    return sum(worker.held for worker in list(_processes)) - handed_over()


# -- the process's own events ------------------------------------------------

_processes: weakref.WeakSet[Worker] = weakref.WeakSet()
_inherited: list[Any] = []

#: When this process began, in Unix time, or its first application was built.
_started = [time.time()]


def _begin_anew() -> None:
    _started[0] = time.time()
    server.leave()


def _at_exit() -> None:
    # Mostly they are drained by now. A worker that finds its master gone leaves without a warning; and no
    # server waits for the last bytes of what was handed over.
    processes = [worker for worker in list(_processes) if not worker.is_closed]
    for worker in processes:
        attempt("the streams of an application could not be ended", worker.drain)
    # Elsewhere a stream may be one that nobody sends or ends, as a test client's that was not read.
    deadline = time.monotonic() + (DRAIN + 1.0 if server.worker() is not None else 0.5)
    while (any(worker.held for worker in processes) or handed_over()) and time.monotonic() < deadline:
        time.sleep(0.01)
    for worker in processes:
        attempt("the broker of an application could not be closed", worker.close)


forks.call_in_child(_begin_anew, forks.FILES)
atexit.register(_at_exit)


# -- hooks for gunicorn.conf.py ----------------------------------------------


def post_worker_init(worker: Any) -> None:
    """gunicorn's hook: the worker is ready; from it we know our limits, and when to go."""
    server.adopt(worker)
    threads.find_home()
    # What is loaded by now stays. Python's full collections need not walk it again, which would also
    # make this worker's own what it shares with the master: 3.7 MB of a bare application.
    gc.collect()
    gc.freeze()


def worker_exit(arbiter: Any, worker: Any) -> None:
    """gunicorn's hook: the worker goes; what streams it has end cleanly, and the store is closed tidily."""
    _at_exit()
