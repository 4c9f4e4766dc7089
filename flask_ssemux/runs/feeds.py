"""The feeds of one application in this process: which of them it has readers of, and which of them it runs.

A feed is a generator that runs in one process of the whole deployment while somebody reads its channel. Its lease in
the broker decides which process that is. A process that has readers wants the feed, and takes the lease if no living
process has it. The process that runs it closes it when nobody wants it any more.
"""

from __future__ import annotations

import threading
import time
from itertools import islice
from typing import Any, Callable, Collection, Iterable, Protocol, Sequence

from ..brokers import WORK_INTERVAL, WORK_SECONDS, KeptWork, WorkLease
from ..errors import BrokerClosed, BrokerUnavailable
from ..options import log
from ..util import forks
from ..util.background import run_in_background
from ..util.log_throttle import LogThrottle
from ..util.supervise import attempt
from .feed import Feed, FeedParts, FeedWork
from .messages import WorkMessage, announce_free
from .parts import WorkParts

#: The name of a feed's work is this and its channel.
FEED_PREFIX = "feed:"

#: Seconds without an answer of the store after which generators are closed: another process may take the lease soon.
UNREACHABLE_SECONDS = WORK_SECONDS - WORK_INTERVAL


#: Seconds after which it is logged that a generator does not end.
LATE_SECONDS = 10.0

#: How many of the feeds that wait are tried when one ends.
NEXT_FEEDS = 10

#: How many feeds of a process are listed in its report; those with an error first.
MAX_LISTED = 200


class Reader(Protocol):
    """A stream."""

    @property
    def channels(self) -> Sequence[str]:
        """What it reads."""


class Feeds:
    """A member of the keeper.

    :param find_work: returns what runs for a channel; None if it has no feed.
    :param work_parts: what feeds and runs share.
    :param feed_parts: what all feeds use.
    :param max_feeds: how many feeds this process runs at most.
    """

    def __init__(
        self, find_work: Callable[[str], FeedWork | None], work_parts: WorkParts, feed_parts: FeedParts, max_feeds: int
    ) -> None:
        self._find_work = find_work
        self._work_parts = work_parts
        self._feed_parts = feed_parts
        self._max_feeds = max_feeds
        self._throttle = LogThrottle()
        self._lock = threading.Lock()
        #: The streams here that read each channel that has a feed.
        self._readers: dict[str, set[Reader]] = {}
        #: The feeds that run here, and the channels whose leases are being taken.
        self._feeds: dict[str, Feed] = {}
        self._taking: set[str] = set()
        #: The channels that are read here, for whose feeds there was no room, and that no other process was found to
        #: run; those that were asked for last are at the end. They are not announced as wanted: clients can name any
        #: number of them.
        self._waiting: dict[str, None] = {}
        #: Those of them for which the keeper asks.
        self._watched: list[str] = []
        #: How many times generators that are over were started again.
        self._past_restarts = 0
        #: Whether this process stops.
        self._is_over = False
        work_parts.keeper.add_member(self)
        work_parts.messages.handlers.append(self._handle_message)
        forks.register_owner(self)

    # -- streams that come and go --------------------------------------------

    def add_stream(self, stream: Reader, is_closed: Callable[[], bool]) -> None:
        """A stream was opened.

        :param is_closed: returns whether it has ended meanwhile.
        """
        fed = [channel for channel in stream.channels if self._find_work(channel) is not None]
        with self._lock:
            if is_closed():
                return
            new = [channel for channel in fed if channel not in self._readers]
            for channel in fed:
                self._readers.setdefault(channel, set()).add(stream)
        if new and not self._is_over:
            self._take_soon(new)
            self._work_parts.keeper.wake()

    def remove_stream(self, stream: Reader) -> None:
        """A stream has ended. This may be called before ``add_stream`` is."""
        with self._lock:
            for channel in stream.channels:
                readers = self._readers.get(channel)
                if readers is not None:
                    readers.discard(stream)
                    if not readers:
                        del self._readers[channel]
                        self._waiting.pop(channel, None)

    # -- taking --------------------------------------------------------------

    def _handle_message(self, message: WorkMessage) -> None:
        free = [name[len(FEED_PREFIX) :] for name in message.free if name.startswith(FEED_PREFIX)]
        self._take_soon(channel for channel in free if channel in self._readers)

    def _take_soon(self, channels: Iterable[str]) -> None:
        taken, waiting = self._note_taking(channels)
        if waiting:
            self._log_full(waiting[0])
        if taken and not attempt("feeds could not be taken", run_in_background, "ssemux-take", self._take_feeds, taken):
            with self._lock:  # the system has no thread left; the keeper tries again
                self._taking.difference_update(taken)

    def _note_taking(self, channels: Iterable[str]) -> tuple[list[str], list[str]]:
        """Return those of the channels that this process may try to take now, and those for which there is no room.

        One call at a time takes a channel.
        """
        with self._lock:
            if self._is_over:
                return [], []
            new = [it for it in dict.fromkeys(channels) if it not in self._feeds and it not in self._taking]
            room = max(0, self._max_feeds - len(self._feeds) - len(self._taking))
            taken, waiting = new[:room], new[room:]
            self._taking.update(taken)
            for channel in taken:
                self._waiting.pop(channel, None)
            self._waiting.update(dict.fromkeys(it for it in waiting if it in self._readers))
            return taken, waiting

    def _log_full(self, channel: str) -> None:
        more = self._throttle.count("full", time.monotonic())
        if more is not None:
            log.warning(
                "the feed %r is left to other workers, or waits: this worker runs %d feeds, as many as "
                "SSEMUX_MAX_FEEDS allows; raise the option, or refuse channels that nobody needs in their rule%s",
                channel, self._max_feeds, more,
            )  # fmt: skip

    def _take_feeds(self, channels: Collection[str]) -> None:
        leases: list[WorkLease] = []
        try:
            leases = self._work_parts.get_broker().work.take_work([FEED_PREFIX + channel for channel in channels])
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("feeds could not be taken: %s", error)  # the keeper tries again
        finally:
            feeds = self._add_feeds(channels, leases)
        for feed in feeds:
            if not attempt("a feed could not be started", feed.start):  # the system has no thread left, for example
                self._end_feed(feed)
        if leases and not feeds:
            self._release(leases)

    def _add_feeds(self, channels: Collection[str], leases: Sequence[WorkLease]) -> list[Feed]:
        """These channels are no longer being taken, and these leases were. Return their feeds."""
        with self._lock:
            self._taking.difference_update(channels)
            feeds = [] if self._is_over else [self._make_feed(lease) for lease in leases]
            self._feeds.update((feed.work.channel, feed) for feed in feeds)
        return feeds

    def _make_feed(self, lease: WorkLease) -> Feed:
        work = self._find_work(lease.name[len(FEED_PREFIX) :])
        assert work is not None  # only channels with a feed are taken
        return Feed(work, lease, self._feed_parts, self._end_feed)

    # -- ending --------------------------------------------------------------

    def _end_feed(self, feed: Feed) -> None:
        """A feed is over. In its own greenlet or thread."""
        channel = feed.work.channel
        try:
            if not feed.is_lost:
                self._release([feed.lease])
        finally:
            with self._lock:
                self._past_restarts += feed.restarts
                if self._feeds.get(channel) is feed:
                    del self._feeds[channel]
                wanted = [channel] if channel in self._readers else []
                wanted += islice(self._waiting, NEXT_FEEDS)
            self._take_soon(wanted)

    def _release(self, leases: Sequence[WorkLease]) -> None:
        broker = self._work_parts.get_broker()
        broker.work.release_work(leases)
        try:
            announce_free(broker, [lease.name for lease in leases])
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("it was not announced that feeds are free: %s", error)

    def drain(self) -> None:
        """Close all feeds, so that other processes take them over, and take none any more. Returns at once."""
        with self._lock:
            self._is_over = True
            feeds = list(self._feeds.values())
        for feed in feeds:
            feed.stop(is_hurried=True)

    def wait(self, seconds: float) -> bool:
        """Wait until all feeds that were stopped are closed; return whether they are."""
        deadline = time.monotonic() + seconds
        return all(feed.wait(max(0.0, deadline - time.monotonic())) for feed in list(self._feeds.values()))

    def disown(self) -> None:
        """In a forked child: the feeds are the parent's. No lock is taken: its holder may not exist here."""
        self._lock = threading.Lock()
        self._throttle = LogThrottle()
        self._readers, self._feeds, self._taking, self._waiting, self._watched = {}, {}, set(), {}, []

    # -- the keeper's questions and answers ------------------------------------

    @property
    def is_needed(self) -> bool:
        return bool(self._readers or self._feeds)

    def list_leases(self) -> list[WorkLease]:
        with self._lock:
            return [feed.lease for feed in self._feeds.values() if not feed.is_lost]

    def list_wants(self) -> list[str]:
        with self._lock:
            wanted = [] if self._is_over else [channel for channel in self._readers if channel not in self._waiting]
        return [FEED_PREFIX + channel for channel in wanted]

    def list_watches(self) -> list[str]:
        """Of the feeds that wait, as many as this process may run, and others each time."""
        with self._lock:
            self._watched = [] if self._is_over else list(islice(self._waiting, self._max_feeds))
            for channel in self._watched:
                del self._waiting[channel]
            self._waiting.update(dict.fromkeys(self._watched))
        return [FEED_PREFIX + channel for channel in self._watched]

    def note_kept(self, kept: KeptWork, lost: Collection[WorkLease]) -> None:
        now = time.monotonic()
        with self._lock:
            feeds, readers = list(self._feeds.values()), set(self._readers)
            free = [channel for channel in self._readers if FEED_PREFIX + channel in kept.free]
            busy = [it for it in self._watched if FEED_PREFIX + it not in kept.free and it in self._waiting]
            for channel in busy:
                del self._waiting[channel]
        if busy:  # other processes run them now: announce that they are wanted
            self._work_parts.keeper.wake()
        for feed in feeds:
            feed.check_closed(LATE_SECONDS)
            if feed.lease in lost:
                feed.stop(is_lost=True)
            elif feed.lease.name in kept.wanted or feed.work.channel in readers:
                feed.wanted_at = now
            elif now - feed.wanted_at >= feed.work.linger:
                feed.stop()
        self._take_soon(free)

    def note_unreachable(self, seconds: float) -> None:
        if seconds >= UNREACHABLE_SECONDS:
            for feed in list(self._feeds.values()):
                feed.stop()

    # ------------------------------------------------------------------------

    def get_figures(self) -> dict[str, Any]:
        """Return the figures of the feeds that run here: each by its channel, and totals."""
        with self._lock:
            feeds = sorted(self._feeds.values(), key=lambda feed: (not feed.error, feed.work.channel))
        states = [feed.state for feed in feeds]
        return {
            "feeds": {feed.work.channel: feed.get_figures() for feed in feeds[:MAX_LISTED]},
            "feeds_running": states.count("running"),
            "feeds_paused": states.count("paused"),
            "feeds_waiting": len(self._waiting),
            "feed_restarts": self._past_restarts + sum(feed.restarts for feed in feeds),
        }
