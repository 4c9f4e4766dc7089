"""The broker's contract: what every engine promises, stated once.

Engines are one file each beside this one. No engine's code, no streams, no
Flask and no gevent: engines use the standard library's ``threading``, ``time``
and ``socket``, which gunicorn's gevent worker turns into greenlets, so that
the same code runs under ``flask run`` and in job processes.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import random
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

from ..errors import BrokerUnavailable
from ..sse.encode import OWN_PREFIX, Cursor
from ..util import forks, threads
from .merge import Merge
from .records import Floors, History, Page, Part, Range, Record, Wanted

__all__ = ["Floors", "History", "Page", "Part", "Range", "Record", "Wanted"]

log = logging.getLogger("flask_ssemux")

#: Seconds that ``append`` and ``read`` wait for a busy store before ``BrokerUnavailable``.
WAIT = 2.0

#: Bytes of bodies after which a page of ``read`` ends.
PAGE_BYTES = 1024 * 1024

#: Bytes of a body from which on the place of the next event is looked for rather than read.
LARGE = 4096

#: Seconds after which a hold that its process did not renew no longer counts.
HOLD_SECONDS = 60.0

#: Seconds after which an application whose process did not enroll again no longer counts as using the store.
APPLICATION_LASTS = 60.0

#: Seconds between two reports of a process.
REPORT_SECONDS = 5.0

#: What engines keep for delivery to connected clients, whatever the limits of the history say: events so young, and so
#: many of the newest; but not more bytes.
LIVE_SECONDS = 5.0
LIVE_EVENTS = 500
LIVE_BYTES = 16 * 1024 * 1024

#: The limits of the extension's own channels, whatever those of the application are: events of each, and seconds of age
#: at least. Their bytes do not count.
OWN_EVENTS = 10_000
OWN_SECONDS = 3600.0

#: Seconds after which a report that was not made anew no longer counts: what gunicorn, by default, lets a worker be
#: blocked. One that was killed is missed sooner by those on its own host.
REPORT_LASTS = 30.0


#: How many streams there are, by channel and user; "" is nobody.
Streams = Mapping[Tuple[str, str], int]


class Report(NamedTuple):
    """What a process said of itself.

    :param holder: its broker's name.
    :param age: seconds since it said so.
    :param figures: what it said; anything that JSON can say.
    """

    holder: str
    age: float
    figures: dict[str, Any]


class Application(NamedTuple):
    """A process that uses the store without a namespace, for one application.

    :param holder: its broker's name.
    :param name: the application's.
    :param key: a fingerprint of its SECRET_KEY; "" where it has none.
    :param script_name: where the application is mounted; "" where that need not be known.
    """

    holder: str
    name: str
    key: str
    script_name: str

    def is_rival(self, name: str, script_name: str) -> bool:
        """Whether this is surely another application than the one of this name, mounted there."""
        is_elsewhere = bool(script_name and self.script_name and script_name != self.script_name)
        return is_elsewhere or not is_same_name(self.name, name)


def is_same_name(first: str, second: str) -> bool:
    """Whether two names are of one application: it may have been imported as ``shop``, and as ``services.shop``."""
    return first == second or first.endswith("." + second) or second.endswith("." + first)


#: What the log says when a listener raises, which loses what it was told.
NOT_TAKEN = "delivery from the broker failed"


class Listener(NamedTuple):
    """Whom a broker tells, from a thread (or greenlet) of its own, one call at a time.

    A listener deals with its own errors. The broker goes on after one that it raises, and tells nothing twice.

    :param deliver: takes records, in the order of their sequence, each once.
    :param gap: takes channels of which undelivered events are no longer kept, before what follows them.
    :param renewed: the history's life ended; takes the new head. What was not delivered is gone.
    :param lost: the store cannot be reached; takes the reason.
    :param found: it can again. Everything accepted meanwhile is delivered after this.
    """

    deliver: Callable[[Sequence[Record]], None]
    gap: Callable[[Sequence[str], Cursor], None]
    renewed: Callable[[Cursor], None]
    lost: Callable[[str], None]
    found: Callable[[], None]


#: Methods that may be called from any thread.
_GUARDED = {
    "append_event", "get_newest_cursor", "read_channels", "get_floors", "start_delivery", "subscribe_channels",
    "unsubscribe_channel", "take_user_slot", "release_user_slot", "renew_leases", "announce_oldest_slot",
    "find_oldest_slot_holder", "use_one_time_key", "register_application", "write_report", "read_reports",
    "announce_presence", "get_presence", "get_figures", "close",
}  # fmt: skip


def _guard(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that any thread may call, and that a copied greenlet in a forked child does not return from."""

    @functools.wraps(method)
    def guarded(self: Broker, *args: Any, **kwargs: Any) -> Any:
        if not threads.is_home():
            return call_at_home(functools.partial(method, self, *args, **kwargs))
        born = forks.generation
        try:
            return method(self, *args, **kwargs)
        finally:
            if born != forks.generation:
                forks.halt_copy(born)

    return guarded


def call_at_home(call: Callable[[], Any]) -> Any:
    """Make this call where locks and connections may be used: in gevent's loop, if this is a thread beside it.

    :raises BrokerUnavailable: the loop did not make it in time.
    """
    if threads.is_home():
        return call()
    try:
        return threads.carry_out(call, WAIT, 2 * WAIT + 1.0)
    except threads.NotTaken:
        raise BrokerUnavailable(
            "a thread beside gevent's loop called, and the loop, which makes the call, was blocked for %g s; nothing "
            "was done: docs/blocking.md says how to find what blocks it" % WAIT
        ) from None
    except threads.Unanswered:
        raise BrokerUnavailable(
            "a thread beside gevent's loop called, and the loop, which makes the call, did not answer in %g s; nobody "
            "can tell whether it was done: docs/blocking.md says how to find what blocks it" % (2 * WAIT + 1.0)
        ) from None


class Broker:
    """Keeps the order and the history of events and carries them between processes.

    Order: one sequence for all channels, growing by commit: whoever sees sequence n
    has seen, or can read, everything before it. Numbering, storing and announcing an
    event are one atomic step.

    Safety: every method may be called from any thread or greenlet of the process that
    made the broker, and of no other process: make a broker after the fork. A method that an engine
    defines is wrapped for that here (``_guard``): engines do nothing about it. Nothing is
    opened before the first call of a method.

    After ``close`` every method raises ``BrokerClosed``; ``close`` itself may be called again.
    """

    #: Whether other processes see the events.
    is_shared = True

    #: Where the events are, in words: two brokers with the same have the same events. "" where no other can have them.
    store_name = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in _GUARDED & set(vars(cls)):
            setattr(cls, name, _guard(vars(cls)[name]))

    @property
    def history(self) -> Broker:
        return self

    @property
    def leases(self) -> Broker:
        return self

    @property
    def presence(self) -> Broker:
        return self

    @property
    def reports(self) -> Broker:
        return self

    @property
    def one_time_keys(self) -> Broker:
        return self

    def append_event(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        """Number, store and announce one event; trim the channel's history.

        :param latest: the key of an event of which only the newest counts: the one of this channel and key before it
            is no longer kept from this moment on, and is not missing.

        Blocks for ``WAIT`` seconds at most. When it returns, the event survives the crash
        of any process.

        :raises BrokerUnavailable: the event was not accepted; or, where the store is reached over a
            network that broke in between, nobody can tell.
        """
        raise NotImplementedError

    def get_newest_cursor(self) -> Cursor:
        """The place of the newest event; sequence 0 before the first.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        """The oldest events of each channel in its range: ``limit`` of each at most, about ``size`` bytes in all.

        Costs what it gives: a search or two for each channel. The first channel gets one event at least, if it has one.
        A part for which there is no more room ends before the next event of its channel, where that is cheap to find.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def get_floors(self, channels: Iterable[str]) -> Floors:
        """Up to which place the events of each of these channels are over a limit of the history, now.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def read_events(self, channels: Iterable[str], after: int, upto: int, limit: int) -> Page:
        """The oldest events of these channels with ``after < sequence <= upto``, in order: ``limit`` of them at most.

        For whoever reads once. Whoever reads on keeps a ``Merge``.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        merge = Merge(self.read_channels, dict.fromkeys(channels, Range(after, upto)))
        records: list[Record] = []
        missing: list[str] = []
        left, is_whole = PAGE_BYTES, False
        while left > 0 and len(records) < limit and not is_whole:
            more, gone, is_whole = merge.page(limit - len(records), left)
            records += more
            missing += gone
            left -= sum(len(record.body) for record in more)
        return Page(records, missing, is_whole)

    def has_lost(self, cursor: Cursor) -> bool:
        """Whether this place was given out, in this life of the history, to an event that the store lost since.

        Asks nobody: as of the last answer of the store. Of another life than that answer's nothing is known: no.
        """
        return False

    def start_delivery(self, listener: Listener) -> Cursor:
        """Begin to deliver; returns the place from which on everything wanted is delivered.

        Called once in a broker's life.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def subscribe_channels(self, channels: Iterable[str]) -> Wanted:
        """Deliver events of these channels: from the return on, all of them after the place returned.

        Blocks for ``2 * WAIT`` seconds at most; not while the store is known to be lost.

        An engine may deliver events of channels that nobody wants.

        :raises BrokerUnavailable: the store did not answer in that time.
        """
        raise NotImplementedError

    def unsubscribe_channel(self, channel: str) -> None:
        """Events of this channel need no longer be delivered. Returns at once."""

    def take_user_slot(self, key: str, limit: int) -> bool:
        """Take one of ``limit`` places that all processes share under this key, if one is free.

        Places of a process that died are free again, at the latest after ``HOLD_SECONDS``.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def release_user_slot(self, key: str) -> None:
        """Give a place of this process back. Never raises: what is not given back runs out."""
        raise NotImplementedError

    def renew_leases(self) -> None:
        """Say that this process lives and keeps its places; every ``HOLD_SECONDS / 3``. Never raises."""

    @property
    def process_name(self) -> str:
        """The name under which this process holds its places."""
        raise NotImplementedError

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        """Show the others since when (Unix time) this process has the oldest of its places under this key; None: it
        has none. Never raises."""
        raise NotImplementedError

    def find_oldest_slot_holder(self, key: str) -> str | None:
        """The holder, of those alive that hold places under this key, which showed the oldest; None: nobody holds one.

        Who has shown nothing comes first: nobody knows how old its places are.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        """Whether this is the first claim to the key, over all processes, in these seconds (at least 1).

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def register_application(self, name: str, key: str, script_name: str = "") -> list[Application]:
        """Register this process as one of an application that uses the store, unless a rival's is registered.

        It counts for ``APPLICATION_LASTS`` seconds, and no longer once the broker is closed or its process is dead.

        The parameters are those of ``Application``.

        :return: all other processes that are registered.
        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        return []

    def write_report(self, figures: dict[str, Any]) -> None:
        """Show these figures of this process to all others, in place of those before; every ``REPORT_SECONDS``.

        They are gone when the broker is closed or its process dies, at the latest after ``REPORT_LASTS`` seconds.
        Blocks for ``WAIT`` seconds at most. Never raises: who cannot be told now is told the next time.
        """
        raise NotImplementedError

    def read_reports(self) -> list[Report]:
        """What all living processes reported last, in the order of their holders.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def announce_presence(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        """Say how many streams this process has there now, in place of what it said before of the same; 0: none more.

        All that it ever said counts as long as it says something, be it of nothing, every ``lasts`` seconds; and no
        longer once the broker is closed or its process is dead.

        :param anew: forget first all that this process said.
        :return: whether what it said before was still there; if not, it says all of it anew.
        :raises BrokerUnavailable: nobody can tell what is there now.
        """
        raise NotImplementedError

    def get_presence(self, channel: str) -> dict[str, int]:
        """Streams of this channel by user, over all processes; "" is nobody.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    def get_figures(self) -> dict[str, object]:
        """What ``flask ssemux status`` shows of this broker.

        :raises BrokerUnavailable: the store did not answer in ``WAIT`` seconds.
        """
        raise NotImplementedError

    @property
    def waiting_calls(self) -> int:
        """Calls of this process that wait for the store's answer now, where the engine has such."""
        return 0

    def prepare_fork(self) -> None:
        """Before a fork: close what must not be inherited. Waits for a fraction of a second at most."""

    def finish_fork(self) -> None:
        """After a fork, in the parent: go on."""

    def disown(self) -> None:
        """In a forked child: the broker is the parent's, and of no use here. Nothing of it may be felt there."""

    def close(self) -> None:
        """Stop delivering and let go of everything that is open."""
        raise NotImplementedError


def is_own(channel: str) -> bool:
    """Whether it is one of the extension's own channels, which have limits of their own."""
    return channel.startswith(OWN_PREFIX)


def living(reports: Iterable[tuple[str, float, str]]) -> list[Report]:
    """Reports as an engine keeps them (holder, age, JSON), without those of processes that are surely dead."""
    found = (Report(holder, max(0.0, age), json.loads(text)) for holder, age, text in reports if not is_dead(holder))
    return sorted(found, key=lambda report: report.holder)


def present(rows: Iterable[tuple[str, str, int]]) -> dict[str, int]:
    """Streams by user, of rows as an engine keeps them (holder, user, streams), without those of the dead."""
    found: dict[str, int] = {}
    dead: dict[str, bool] = {}
    for holder, user, streams in rows:
        if holder not in dead:
            dead[holder] = is_dead(holder)
        if not dead[holder]:
            found[user] = found.get(user, 0) + streams
    return found


@contextmanager
def within(lock: threading.Lock, what: str) -> Iterator[None]:
    """Hold a lock; wait for it ``WAIT`` seconds at most.

    :raises BrokerUnavailable: others had it all that time.
    """
    if not lock.acquire(timeout=WAIT):
        raise BrokerUnavailable("%s by others, for %g s" % (what, WAIT))
    try:
        yield
    finally:
        lock.release()


def new_epoch() -> str:
    """A name for the life of a history: 8 characters of chance."""
    chance = random.SystemRandom()
    return "".join(chance.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(8))


def new_holder() -> str:
    """A name for a broker of this process, for ``hold``: host, process, chance."""
    return "%s/%d/%s" % (_host(), os.getpid(), new_epoch())


def is_dead(holder: str) -> bool:
    """Whether a holder is a process of this host that is no more."""
    host, pid, _ = holder.rsplit("/", 2)
    if host != _host():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _host() -> str:
    """Where process ids mean the same: containers and copies of a machine may share a name, but not these."""
    return "%s-%s-%s" % (platform.node(), boot_id()[:8], _pids())


def boot_id() -> str:
    """What changes when the machine restarts; "" where the system does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def _pids() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")[5:-1]
    except OSError:
        return ""
