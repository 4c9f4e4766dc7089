"""The Redis broker: many machines, on Redis 5 or newer, Valkey, and what speaks their language.

    {p}:life          hash: epoch, sequence, born, run, voids, seconds, events, at, aged, kept, forgotten
    {p}:c:<channel>   stream: the channel's events, numbered <sequence>-0; field b is the body; l, where there is
                      one, the key of an event that the next with it replaces
    {p}:l:<channel>   hash: such a key -> its event's sequence
    {p}:firsts        sorted set: channel -> its oldest event that is kept
    {p}:floors        sorted set: channel -> its newest event that was trimmed
    {p}:clock         list of "time sequence": what was newest when; for trimming by age
    {p}:h:<key>       hash: holder -> "places until"; {p}:holders the same of all keys together
    {p}:o:<key>           hash: holder -> Unix time of its oldest place, where it shows it
    {p}:reports       hash: holder -> "time figures", what processes say of themselves, in JSON
    {p}:present       hash: holder -> "until run", how long what it said of who is there counts, and to which server
    {p}:p:<channel>   hash: "holder user" -> streams, who is there; {p}:q:<holder> set: "channel\\nuser", the same
    {p}:claim:<key>   there while it may not be claimed again; whose it is
    {p}:answer:<name> the last answer that a broker of ours got, for 60 s
    {p}@<database>:<channel>   where an event is announced: "epoch sequence key\\n" and the body

``{p}`` is ``ssemux``, or the URL's ``?prefix=``, in braces: one slot of a cluster. What a script does
to the keys is in ``lua/``; ``lua/life.lua``, with which each of them begins, tells how a server that
restarted, or a replica that took over, is seen to have lost events.

A process has three connections, whatever its clients: one to write, one to read history, and
one that is subscribed to the channels that are wanted. What was announced while the last one was
broken is read from the streams. No key expires that holds history, so a server that evicts keys
must be one of ``maxmemory-policy noeviction`` or ``volatile-*``.

Only the broker, its thread, and their scripts; no other engine, no streams.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Callable, Iterable, List, NamedTuple, Sequence, Tuple

from ..errors import BrokerBehind, BrokerClosed, BrokerUnavailable
from ..wire import Cursor
from . import base
from .base import Broker, History, Listener, Page, Record, Report, Streams, Wanted, log
from .redis_link import Address, Line, Script, driver

#: Seconds without a message after which the subscribed connection is asked whether it lives, and
#: the server who it is; half of it is the time to answer.
CHECK = 4.0

#: Seconds between two looks at what is no longer wanted, while nothing comes.
TICK = 1.0

#: Seconds after which a lost server is looked for again, doubled up to this, spread.
BACK_OFF = 1.0

#: Events that are read, and handed over, at a time.
BATCH = 500

#: Channels, or keys of places, in one command.
CHANNELS = 500

_LASTS = int(base.HOLD_SECONDS)
_REPORT_LASTS = int(base.REPORT_LASTS)

#: The epoch that an announcement says, and the event.
_News = List[Tuple[str, Record]]

_FOLDER = Path(__file__).parent / "lua"


def _script(name: str) -> Script:
    return Script("\n".join((_FOLDER / (part + ".lua")).read_text() for part in ("life", name)))


_APPEND, _HEAD, _READ, _HOLD, _PLACES, _SHOW_OLDEST, _OLDEST, _CLAIM = map(
    _script, ("append", "head", "read", "hold", "places", "show_oldest", "oldest", "claim")
)
_REPORT, _REPORTS, _FIGURES, _PRESENT, _PRESENCE = map(
    _script, ("report", "reports", "figures", "present", "presence")
)


class RedisBroker(Broker):
    """Appends by one script; one thread hears what was announced.

    :param url: see ``redis_link``.
    :param history: how much is kept; None takes what the store says.
    :raises ConfigurationError: the URL cannot be understood, or redis-py is missing.
    """

    def __init__(self, url: str, history: History | None = None) -> None:
        self._address = Address(url)
        self._life = "{%s}:life" % self._address.prefix
        self._announced = "{%s}@%d:" % (self._address.prefix, self._address.database)
        self._history = ("%r" % history.seconds, str(history.events)) if history else ("", "")
        self._known = Cursor("", 0)
        self._candidate = base.new_epoch()
        self._voids: tuple[str, list[tuple[int, int]]] = ("", [])
        self._closed = False
        self._process = 0
        self._lines: list[tuple[Line, Line]] = []
        self._be_of_this_process()

    def _be_of_this_process(self) -> None:
        """A child of a fork has connections, and a name, of its own: what it inherited is its parent's."""
        self._process = os.getpid()
        self._writing, self._reading = lines = Line(self._address), Line(self._address)
        self._lines.append(lines)  # also the parent's: letting go of them here would be felt there
        self._noting = threading.Lock()
        self._places = _Places(self)
        self._name = base.new_holder()
        self._tokens = itertools.count(1)
        self._has_reported = self._is_present = False
        self._tail: _Tail | None = None

    def append(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        if self._process != os.getpid():
            self._be_of_this_process()
        values = (channel, body, self._announced, self._name, next(self._tokens), latest or "")
        return self._noted(self.call(_APPEND, *values))

    def head(self) -> Cursor:
        return self.look().head

    def read(self, channels: Iterable[str], after: int, upto: int, limit: int) -> Page:
        names = list(channels)
        expected = self._tail.at.epoch if self._tail else self._known.epoch
        answer = self.call(_READ, after, after + 1, upto, limit, *names, line="reading")
        epoch = self._noted(answer).epoch
        if expected and epoch != expected:
            raise BrokerBehind("the Redis store %s: its history began anew" % self._address.shown)
        return Page(_records(answer[3], names), [name.decode("utf-8") for name in answer[2]], bool(answer[4]))

    def is_void(self, cursor: Cursor) -> bool:
        epoch, voids = self._voids
        return cursor.epoch == epoch and any(low < cursor.sequence < high for low, high in voids)

    def listen(self, listener: Listener) -> Cursor:
        start = self.head()
        self._tail = _Tail(self, listener, start)
        threading.Thread(target=self._tail.run, name="ssemux-redis", daemon=True).start()
        return start

    def want(self, channels: Iterable[str]) -> Wanted:
        self._check_open()
        names = list(channels)
        if self._tail is not None:
            self._tail.want(names)
        answer = self.call(_HEAD, *names)
        return Wanted(self._noted(answer).sequence, sorted(_records(answer[5], names)))

    def drop(self, channel: str) -> None:
        if self._tail is not None:
            self._tail.drop(channel)

    def hold(self, key: str, limit: int) -> bool:
        return self._places.take(key, limit)

    def release(self, key: str) -> None:
        self._places.give_back(key)

    def renew(self) -> None:
        self._places.renew()

    @property
    def holder(self) -> str:
        return self._places.holder

    def show_oldest(self, key: str, since: float | None) -> None:
        try:
            self.call(_SHOW_OLDEST, key, self.holder, "" if since is None else "%.6f" % since)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the oldest of %s not told: %s", key, error)

    def oldest(self, key: str) -> str | None:
        holders = [holder.decode("utf-8") for holder in self.call(_OLDEST, key, line="reading")[2]]
        return next((holder for holder in holders if not base.is_dead(holder)), None)

    def claim(self, key: str, seconds: float) -> bool:
        return bool(self.call(_CLAIM, key, int(seconds * 1000), base.new_epoch())[2])

    def report(self, figures: dict[str, Any]) -> None:
        if self._process != os.getpid():
            self._be_of_this_process()
        self._has_reported = True
        self._report(json.dumps(figures))

    def _report(self, text: str) -> None:
        try:
            self.call(_REPORT, self._name, _REPORT_LASTS, text)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("figures not told: %s", error)

    def reports(self) -> list[Report]:
        rows = iter(self.call(_REPORTS, _REPORT_LASTS, line="reading")[2])
        return base.living((holder.decode("utf-8"), float(age), text) for holder, age, text in zip(rows, rows, rows))

    def present(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        if self._process != os.getpid():
            self._be_of_this_process()
        self._is_present = True
        said = [value for (channel, user), count in streams.items() for value in (channel, user, count)]
        return bool(self.call(_PRESENT, self._name, int(lasts * 1000), int(anew), *said)[2])

    def presence(self, channel: str) -> dict[str, int]:
        rows = iter(self.call(_PRESENCE, channel, line="reading")[2])
        return base.present(
            (holder.decode("utf-8"), user.decode("utf-8"), int(count)) for holder, user, count in zip(rows, rows, rows)
        )

    def _say_absent(self) -> None:
        try:
            self.present({}, 0.0, anew=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("absence not told: %s", error)

    def figures(self) -> dict[str, object]:
        answer = self.call(_FIGURES, line="reading")
        events, channels, held = map(int, answer[2:])
        return {
            "broker": "redis",
            "server": self._address.shown,
            "cursor": str(self._noted(answer)),
            "events": events,
            "channels": channels,
            "held": held,
        }

    def rest(self) -> None:
        self._writing.close()
        self._reading.close()

    def close(self) -> None:
        if self._closed:
            return
        self._places.give_all_back()
        if self._has_reported and self._process == os.getpid():
            self._report("")
        if self._is_present and self._process == os.getpid():
            self._say_absent()
        self._closed = True
        if self._tail is not None:
            self._tail.close()
        self.rest()

    # ----------------------------------------------------------------------

    def look(self) -> _Look:
        """The head, where its life began, and which server says so."""
        answer = self.call(_HEAD)
        head = self._noted(answer)
        pairs = (pair.split(":") for pair in answer[4].decode("ascii").split())
        self._voids = head.epoch, [(int(low), int(high)) for low, high in pairs]
        return _Look(head, Cursor(head.epoch, int(answer[3])), answer[2].decode("ascii"))

    def call(self, script: Script, *values: Any, line: str = "writing") -> Any:
        """A script's answer.

        :raises BrokerUnavailable: there was none within ``WAIT`` seconds.
        """
        self._check_open()
        if self._process != os.getpid():
            self._be_of_this_process()
        told = self._known + (self._candidate,) + self._history
        using = self._reading if line == "reading" else self._writing
        return using.call(script, self._life, *(told + values))

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerClosed("the broker on %s is closed" % self._address.shown)

    def _noted(self, answer: Sequence[Any]) -> Cursor:
        """The place that an answer tells."""
        cursor = Cursor(answer[0].decode("ascii"), int(answer[1]))
        with self._noting:
            if cursor.epoch != self._known.epoch:
                self._known = cursor
            if cursor.epoch == self._candidate:
                self._candidate = base.new_epoch()
        self.know(cursor)
        return cursor

    def know(self, cursor: Cursor) -> None:
        """The newest place that we have seen is the proof, should the store lose it."""
        with self._noting:
            if cursor.epoch == self._known.epoch and cursor.sequence > self._known.sequence:
                self._known = cursor


def _records(rows: Sequence[Any], channels: Sequence[str]) -> list[Record]:
    """Events as scripts give them: the number of the channel, sequence, body and key of each, in one list."""
    given = iter(rows)
    return [
        Record(int(sequence), channels[channel], body, key.decode("utf-8") or None)
        for channel, sequence, body, key in zip(given, given, given, given)
    ]


class _Look(NamedTuple):
    """The head of the store, where its life began, and which server says so."""

    head: Cursor
    born: Cursor
    run: str


class _Places:
    """The places that this process holds: ours is the truth, and the store is told of it."""

    def __init__(self, broker: RedisBroker) -> None:
        self._broker = broker
        self.holder = base.new_holder()
        self._held: Counter[str] = Counter()
        self._total = 0
        self._given_back: set[str] = set()
        self._telling = threading.Lock()
        self._counting = threading.Lock()
        self._is_told = True

    def take(self, key: str, limit: int) -> bool:
        with base.within(self._telling, "places are counted"):
            taken, holders = self._ask(key, limit)
            dead = [name for name in holders if not taken and base.is_dead(name)]
            for name in dead:
                self._broker.call(_PLACES, name, 0, _LASTS, key, 0)
            if dead:
                taken, _ = self._ask(key, limit)
            if taken:
                self._count(key, 1)
            return taken

    def give_back(self, key: str) -> None:
        """Returns at once: a stream's end waits for nobody."""
        with self._counting:
            if not self._held[key]:
                return
            self._given_back.add(key)
            begin, self._is_told = self._is_told, False
        self._count(key, -1)
        try:
            if begin:
                threading.Thread(target=self._tell_given_back, name="ssemux-places", daemon=True).start()
        except RuntimeError:  # the interpreter ends: all are given back
            self._is_told = True

    def give_all_back(self) -> None:
        self._given_back.update(self._held)
        self._held.clear()
        self._total = 0
        self._tell(self._given_back)

    def renew(self) -> None:
        self._tell(self._held)

    def _count(self, key: str, more: int) -> None:
        with self._counting:
            self._held[key] += more
            self._total += more
            if not self._held[key]:
                del self._held[key]

    def _ask(self, key: str, limit: int) -> tuple[bool, list[str]]:
        counts = (self._held[key] + 1, self._total + 1)
        answer = self._broker.call(_HOLD, key, self.holder, *counts, limit, _LASTS)
        return bool(answer[2]), [name.decode("utf-8") for name in answer[3]]

    def _tell_given_back(self) -> None:
        while True:
            with self._counting:
                keys, self._given_back = list(self._given_back), set()
                self._is_told = not keys
            if not keys:
                return
            self._tell(keys)

    def _tell(self, keys: Iterable[str]) -> None:
        """What cannot be told now is when places are renewed, or runs out."""
        names = list(keys)
        try:
            for start in range(0, len(names), CHANNELS):
                with base.within(self._telling, "places are counted"):
                    some = [(key, self._held[key]) for key in names[start : start + CHANNELS]]
                    self._broker.call(_PLACES, self.holder, self._total, _LASTS, *itertools.chain.from_iterable(some))
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("places not told: %s", error)


class _Tail:
    """The one thread that hears what is announced and tells the listener; it survives every error.

    :param start: what was announced after this is told.
    """

    def __init__(self, broker: RedisBroker, listener: Listener, start: Cursor) -> None:
        self.at = start
        self._broker = broker
        self._listener = listener
        self._changed = threading.Condition()
        self._wanted: set[str] = set()
        self._subscription: _Subscription | None = None
        self._lost = ""
        self._closed = False

    # -- what others ask of it ---------------------------------------------

    def want(self, channels: Sequence[str]) -> None:
        """Return when these channels are subscribed to.

        :raises BrokerUnavailable: they are not, within ``WAIT`` seconds; at once if the server is lost.
        """
        deadline = time.monotonic() + base.WAIT
        with self._changed:
            self._wanted.update(channels)
            while not self._is_subscribed(channels):
                if self._lost or self._closed:
                    raise BrokerUnavailable(self._lost or "the broker was closed")
                if time.monotonic() >= deadline:
                    raise BrokerUnavailable("the Redis store did not confirm a subscription in %g s" % base.WAIT)
                self._changed.wait(max(0.0, deadline - time.monotonic()))

    def _is_subscribed(self, channels: Sequence[str]) -> bool:
        subscription = self._subscription
        if subscription is None:
            return False
        subscription.want(channels)
        return subscription.has(channels)

    def drop(self, channel: str) -> None:
        # It stays subscribed until the next look: a client that comes right back asks for nothing.
        with self._changed:
            self._wanted.discard(channel)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- the thread --------------------------------------------------------

    def run(self) -> None:
        pause = BACK_OFF / 16
        while not self._closed:
            began = time.monotonic()
            try:
                self._session()
            except BrokerClosed:
                return
            except (BrokerUnavailable, driver.RedisError, OSError) as error:
                self._tell_lost(str(error))
            except Exception as error:
                log.exception("delivery from the Redis broker failed")
                self._tell_lost(repr(error))
            if time.monotonic() - began > CHECK:
                pause = BACK_OFF / 16
            with self._changed:
                if not self._closed:
                    self._changed.wait(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, BACK_OFF)

    def _session(self) -> None:
        """Hear, from one connection, until it breaks: subscribe, read what was missed, then live."""
        subscription = _Subscription(self._broker._address, self._broker._announced, self._changed)
        try:
            with self._changed:
                self._subscription = subscription
                subscription.want(self._wanted)
            run = self._broker.look().run
            subscription.wait_for(self._wanted_now())
            self._catch_up()
            while not self._closed:
                self._hear(subscription, run)
        finally:
            with self._changed:
                self._subscription = None
                subscription.close()
                self._changed.notify_all()

    def _hear(self, subscription: _Subscription, run: str) -> None:
        """One batch, or one look while nothing comes."""
        self._take(subscription.take(TICK))
        if subscription.is_due():
            subscription.ask()
            look = self._broker.look()
            if look.run != run:
                raise BrokerUnavailable("another server answers: the old one restarted, or a replica took over")
            if look.head.epoch != self.at.epoch:
                self._catch_up()
        with self._changed:
            subscription.keep(self._wanted)

    def _take(self, news: _News) -> None:
        records: list[Record] = []
        for epoch, record in news:
            if epoch != self.at.epoch:
                self._deliver(records)
                records = []
                self._catch_up()
            if epoch == self.at.epoch and record.sequence > self.at.sequence:
                self.at = Cursor(epoch, record.sequence)
                records.append(record)
        self._broker.know(self.at)
        self._deliver(records)

    def _catch_up(self) -> None:
        """What was announced while nobody heard it is in the streams."""
        look = self._broker.look()
        self._tell_found()
        if look.head.epoch != self.at.epoch:
            self.at = look.born
            self._tell(self._listener.renewed, look.born)
        wanted, head = self._wanted_now(), look.head
        while wanted and self.at.sequence < head.sequence:
            page = self._broker.read(wanted, self.at.sequence, head.sequence, BATCH)
            if page.missing:
                self._tell(self._listener.gap, page.missing, head)
            self.at = head if page.is_whole else Cursor(head.epoch, page.records[-1].sequence)
            self._deliver(page.records)
        self.at = head

    def _wanted_now(self) -> list[str]:
        with self._changed:
            return list(self._wanted)

    def _deliver(self, records: Sequence[Record]) -> None:
        if records:
            self._tell(self._listener.deliver, records)

    def _tell_lost(self, reason: str) -> None:
        with self._changed:
            was, self._lost = self._lost, reason or "lost"
            self._changed.notify_all()
        if not was:
            self._tell(self._listener.lost, self._lost)

    def _tell_found(self) -> None:
        if self._lost:
            self._lost = ""
            self._tell(self._listener.found)

    def _tell(self, function: Callable[..., None], *values: Any) -> None:
        try:
            function(*values)
        except Exception:
            log.exception("delivery from the Redis broker failed")


class _Subscription:
    """One connection that is subscribed.

    :param changed: guards what is asked for and confirmed, and tells of it. ``want``, ``has`` and ``keep``
        are called with it held.
    """

    def __init__(self, address: Address, announced: str, changed: threading.Condition) -> None:
        self._address = address
        self._changed = changed
        self._announced = announced.encode("utf-8")
        self._connection = address.connect(time.monotonic() + base.WAIT)
        self._sent: set[str] = set()
        self._awaited: Counter[str] = Counter()
        self._is_broken = False
        self._heard_at = time.monotonic()
        self._asked_at: float | None = None
        self._kept_at = 0.0

    def want(self, channels: Iterable[str]) -> None:
        """Ask for what was not asked for yet.

        :raises BrokerUnavailable: it cannot be sent.
        """
        new = [channel for channel in channels if channel not in self._sent]
        if new:
            self._sent.update(new)
            self._awaited.update(new)
            self._send("SUBSCRIBE", new)

    def has(self, channels: Iterable[str]) -> bool:
        return all(channel in self._sent and not self._awaited[channel] for channel in channels)

    def keep(self, wanted: set[str]) -> None:
        """Unsubscribe from what is no longer wanted, now and then."""
        now = time.monotonic()
        if now - self._kept_at >= TICK:
            self._kept_at = now
            unwanted = self._sent - wanted
            self._sent -= unwanted
            self._awaited = +self._awaited
            self._send("UNSUBSCRIBE", list(unwanted))

    def _has(self, channels: Iterable[str]) -> bool:
        with self._changed:
            return self.has(channels)

    def wait_for(self, channels: Sequence[str]) -> None:
        """Until all of these are subscribed to. What is announced meanwhile is in the streams too."""
        deadline = time.monotonic() + base.WAIT
        while not self._has(channels):
            self.take(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline:
                raise BrokerUnavailable("the Redis store %s: no answer for %g s" % (self._address.shown, base.WAIT))

    def take(self, patience: float) -> _News:
        """What has been announced; waits for the first."""
        news: _News = []
        if self._is_broken:  # redis-py would connect anew, to no channel
            raise BrokerUnavailable("the connection to %s was lost" % self._address.shown)
        while len(news) < BATCH and self._connection.can_read(0 if news else patience):
            self._heard_at, self._asked_at = time.monotonic(), None
            patience = 0
            self._understand(self._connection.read_response(), news)
        return news

    def is_due(self) -> bool:
        """Whether it was silent for so long that it should be asked if it lives.

        :raises BrokerUnavailable: it was asked, and did not answer.
        """
        now = time.monotonic()
        if self._asked_at is not None and now - self._asked_at > CHECK / 2:
            raise BrokerUnavailable("the Redis store %s: no answer for %g s" % (self._address.shown, CHECK / 2))
        return self._asked_at is None and now - self._heard_at > CHECK

    def ask(self) -> None:
        self._asked_at = time.monotonic()
        with self._changed:  # not amid another command
            self._connection.send_command("PING")

    def close(self) -> None:
        self._connection.disconnect()

    def _send(self, command: str, channels: list[str]) -> None:
        names = [self._announced + channel.encode("utf-8") for channel in channels]
        try:
            for start in range(0, len(names), CHANNELS):
                self._connection.send_command(command, *names[start : start + CHANNELS])
        except (driver.RedisError, OSError) as error:
            self._is_broken = True
            raise BrokerUnavailable("the Redis store %s: %s" % (self._address.shown, error)) from error

    def _understand(self, answer: Any, news: _News) -> None:
        if not isinstance(answer, list) or answer[0] == b"pong":
            return
        channel = (answer[1] or b"")[len(self._announced) :].decode("utf-8")
        if answer[0] == b"message":
            place, _, body = answer[2].partition(b"\n")
            epoch, sequence, key = place.decode("utf-8").split(" ", 2)
            news.append((epoch, Record(int(sequence), channel, body, key or None)))
        elif answer[0] == b"subscribe":
            with self._changed:
                self._awaited[channel] -= 1
                self._changed.notify_all()

