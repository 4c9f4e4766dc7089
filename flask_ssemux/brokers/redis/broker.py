"""The Redis broker: many machines, on Redis 5 or newer, Valkey, and what speaks their language.

    {p}:life          hash: epoch, sequence, born, run, voids, forgotten: see ``lua/life.lua``; seconds, events, size:
                      how much is kept; at: when the newest event came; kept, bytes: how many there are, and of how
                      many bytes those after ``weighed`` are; live: what is kept for delivery; listed, unlisted:
                      from where on ``lasts`` has every channel
    {p}:c:<channel>   stream: the channel's events, numbered <sequence>-0; field b is the body; l, where there is
                      one, the key of an event that the next with it replaces
    {p}:l:<channel>   hash: such a key -> its event's sequence
    {p}:firsts        sorted set: channel -> its oldest event that is kept
    {p}:lasts         sorted set: channel -> its newest event
    {p}:floors        sorted set: channel -> its newest event that was trimmed
    {p}:clock         list of "time sequence": what was newest when; for trimming by age
    {p}:own:firsts, {p}:own:clock   the same of the extension's own channels
    {p}:h:<key>       hash: holder -> "places until"; {p}:holders the same of all keys together
    {p}:o:<key>       hash: holder -> Unix time of its oldest place, where it shows it
    {p}:reports       hash: holder -> "time figures", what processes say of themselves, in JSON
    {p}:present       hash: holder -> "until run token answer", how long what it said of who is there counts, to
                      which server, and what that answered
    {p}:p:<channel>   hash: "holder user" -> streams, who is there; {p}:q:<holder> set: "channel\\nuser", the same
    {p}:applications  hash: holder -> lines: time, key, script name, name of who uses the store without a namespace
    {p}:claim:<key>   there while it may not be claimed again; whose it is
    {p}:answers:<name>  hash: slot -> "token epoch sequence time", the last answers that a broker of ours got, for 60 s;
                      it has as many slots as it had appends at a time
    {p}@<database>:<channel>   where an event is announced: "epoch sequence key\\n" and the body

``{p}`` is ``ssemux``, or the URL's ``?prefix=``, with ``:<namespace>`` where there is one, in braces: one slot of a
cluster. What a script does
to the keys is in ``lua/``; ``lua/life.lua``, with which each of them begins, tells how a server that
restarted, or a replica that took over, is seen to have lost events.

A process has three connections, whatever its clients: one to write, one to read history, and
one that is subscribed to the channels that are wanted. What was announced while the last one was
broken is read from the streams. No key expires that holds history, so a server that evicts keys
must be one of ``maxmemory-policy noeviction`` or ``volatile-*``.

Only the methods of the contract; the thread is in ``tail.py``, places in ``places.py``, connections in ``line.py`` and
``subscription.py``. No other engine, no streams.
"""

from __future__ import annotations

import itertools
import json
import threading
from functools import partial
from typing import Any, Callable, Iterable, Mapping, NamedTuple, Sequence

from ...errors import BrokerBehind, BrokerClosed, BrokerUnavailable
from ...sse.encode import Cursor
from .. import base
from ..base import Application, Broker, Floors, History, Listener, Part, Range, Record, Report, Streams, Wanted, log
from . import scripts
from .address import Address
from .line import Line
from .places import Places
from .scripts import Script
from .tail import Tail

#: Calls that read, sent and not answered at a time: their answers may be large.
READS = 8

#: Channels in one answer to which have news.
NEWS = 1000

_REPORT_LASTS = int(base.REPORT_LASTS)
_APPLICATION_LASTS = int(base.APPLICATION_LASTS)


class Look(NamedTuple):
    """The head of the store, where its life began, and which server says so."""

    head: Cursor
    born: Cursor
    run: str


class RedisBroker(Broker):
    """Appends by one script; one thread hears what was announced.

    :param url: see ``redis_link``.
    :param history: how much is kept; None takes what the store says.
    :raises ConfigurationError: the URL cannot be understood, or redis-py is missing.
    """

    def __init__(self, url: str, history: History | None = None) -> None:
        self._address = Address(url)
        self.store_name = "%s (prefix %s)" % (self._address.shown, self._address.prefix)
        self._life = "{%s}:life" % self._address.prefix
        self._announced = "{%s}@%d:" % (self._address.prefix, self._address.database)
        self._history = ("%r" % history.seconds, str(history.events), str(history.size)) if history else ("", "", "")
        self._known = Cursor("", 0)
        self._candidate = base.new_epoch()
        self._voids: tuple[str, list[tuple[int, int]]] = ("", [])
        self._closed = False
        self._writing, self._reading = Line(self._address), Line(self._address, READS)
        self._noting = threading.Lock()
        self._places = Places(self)
        self._name = base.new_holder()
        self._tokens = itertools.count(1)
        self._slots, self._free_slots = itertools.count(1), [0]
        self._has_rights = False
        self._has_reported = self._is_present = self._is_enrolled = False
        self._tail: Tail | None = None

    def append_event(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        slot = self._take_slot()
        try:
            tries = int(not self._has_rights)
            values = (channel, body, self._announced, self._name, slot, next(self._tokens), tries, latest or "")
            cursor = self._noted(self.call(scripts.APPEND, *values))
            self._has_rights = True
            return cursor
        finally:
            self._free_slots.append(slot)

    def _take_slot(self) -> int:
        """Where the store keeps the answer: no two calls at a time have the same."""
        try:
            return self._free_slots.pop()
        except IndexError:
            return next(self._slots)

    def get_newest_cursor(self) -> Cursor:
        return self.look().head

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        return self._read(scripts.READ, ranges, limit, size)

    def read_live(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        """As ``read_channels``, with what is over a limit and still kept: for delivery."""
        return self._read(scripts.READ_LIVE, ranges, limit, size)

    def _read(self, script: Script, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        expected = self._tail.at.epoch if self._tail else self._known.epoch
        names = list(ranges)
        asked = itertools.chain.from_iterable((name, *ranges[name]) for name in names)
        answer = self.call(script, limit, size, *asked, line="reading")
        self._expect(expected, self._noted(answer))
        records: dict[str, list[Record]] = {name: [] for name in names}
        for record in _records(answer[2], names):
            records[record.channel].append(record)
        told = iter(answer[3])
        return {name: Part(records[name], int(upto), bool(gone)) for name, upto, gone in zip(names, told, told)}

    def get_floors(self, channels: Iterable[str]) -> Floors:
        names = list(channels)
        answer = self.call(scripts.FLOORS, *names, line="reading")
        return Floors(self._noted(answer), dict(zip(names, map(int, answer[2]))))

    def _expect(self, epoch: str, cursor: Cursor) -> None:
        """
        :raises BrokerBehind: what was answered is of another life.
        """
        if epoch and cursor.epoch != epoch:
            raise BrokerBehind("the Redis store %s: its history began anew" % self._address.shown)

    def has_lost(self, cursor: Cursor) -> bool:
        epoch, voids = self._voids
        return cursor.epoch == epoch and any(low < cursor.sequence < high for low, high in voids)

    def start_delivery(self, listener: Listener) -> Cursor:
        start = self.get_newest_cursor()
        self._tail = Tail(self, listener, start)
        threading.Thread(target=self._tail.run, name="ssemux-redis", daemon=True).start()
        return start

    def subscribe_channels(self, channels: Iterable[str]) -> Wanted:
        self._check_open()
        names = list(channels)
        if self._tail is not None:
            self._tail.want(names)
        answer = self.call(scripts.HEAD, *names)
        return Wanted(self._noted(answer).sequence, sorted(_records(answer[5], names)))

    def unsubscribe_channel(self, channel: str) -> None:
        if self._tail is not None:
            self._tail.drop(channel)

    def take_user_slot(self, key: str, limit: int) -> bool:
        return self._places.take(key, limit)

    def release_user_slot(self, key: str) -> None:
        self._places.give_back(key)

    def renew_leases(self) -> None:
        self._places.renew()

    @property
    def process_name(self) -> str:
        return self._places.holder

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        try:
            self.call(scripts.SHOW_OLDEST, key, self.process_name, "" if since is None else "%.6f" % since)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the oldest of %s not told: %s", key, error)

    def find_oldest_slot_holder(self, key: str) -> str | None:
        holders = [holder.decode("utf-8") for holder in self.call(scripts.OLDEST, key, line="reading")[2]]
        return next((holder for holder in holders if not base.is_dead(holder)), None)

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        return bool(self.call(scripts.CLAIM, key, int(seconds * 1000), base.new_epoch())[2])

    def register_application(self, name: str, key: str, script_name: str = "") -> list[Application]:
        self._is_enrolled = True
        others = self._enroll(name, key, script_name)
        dead = [other.holder for other in others if base.is_dead(other.holder)]
        return self._enroll(name, key, script_name, *dead) if dead else others

    def _enroll(self, name: str, key: str, script_name: str, *dead: str) -> list[Application]:
        answer = self.call(scripts.ENROLL, self._name, _APPLICATION_LASTS, key, script_name, name, *dead)
        rows = iter([value.decode("utf-8") for value in answer[2]])
        return [_application(holder, row) for holder, row in zip(rows, rows)]

    def _unenroll(self) -> None:
        try:
            self._enroll("", "", "")
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("the application's end not told: %s", error)

    def write_report(self, figures: dict[str, Any]) -> None:
        self._has_reported = True
        self._report(json.dumps(figures))

    def _report(self, text: str) -> None:
        try:
            self.call(scripts.REPORT, self._name, _REPORT_LASTS, text)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("figures not told: %s", error)

    def read_reports(self) -> list[Report]:
        rows = iter(self.call(scripts.REPORTS, _REPORT_LASTS, line="reading")[2])
        return base.living((holder.decode("utf-8"), float(age), text) for holder, age, text in zip(rows, rows, rows))

    def announce_presence(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        self._is_present = True
        said = [value for (channel, user), count in streams.items() for value in (channel, user, count)]
        return bool(self.call(scripts.PRESENT, self._name, int(lasts * 1000), int(anew), next(self._tokens), *said)[2])

    def get_presence(self, channel: str) -> dict[str, int]:
        rows = iter(self.call(scripts.PRESENCE, channel, line="reading")[2])
        return base.present(
            (holder.decode("utf-8"), user.decode("utf-8"), int(count)) for holder, user, count in zip(rows, rows, rows)
        )

    def _say_absent(self) -> None:
        try:
            self.announce_presence({}, 0.0, anew=True)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("absence not told: %s", error)

    def get_figures(self) -> dict[str, object]:
        answer = self.call(scripts.FIGURES, line="reading")
        events, channels, held, size = map(int, answer[2:])
        return {
            "broker": "redis",
            "server": self._address.shown,
            "prefix": self._address.prefix,
            "cursor": str(self._noted(answer)),
            "events": events,
            "channels": channels,
            "held": held,
            "bytes": size,
        }

    @property
    def waiting_calls(self) -> int:
        return self._writing.waiting + self._reading.waiting

    def disown(self) -> None:
        self._closed = True  # its connections end in a child by themselves: see ``address.py``

    def close(self) -> None:
        if self._closed:
            return
        self._places.give_all_back()
        if self._has_reported:
            self._report("")
        if self._is_present:
            self._say_absent()
        if self._is_enrolled:
            self._unenroll()
        self._closed = True
        if self._tail is not None:
            self._tail.close()
        self._writing.close()
        self._reading.close()

    # ----------------------------------------------------------------------

    def look(self) -> Look:
        """The head, where its life began, and which server says so."""
        answer = self.call(scripts.HEAD)
        head = self._noted(answer)
        pairs = (pair.split(":") for pair in answer[4].decode("ascii").split())
        self._voids = head.epoch, [(int(low), int(high)) for low, high in pairs]
        return Look(head, Cursor(head.epoch, int(answer[3])), answer[2].decode("ascii"))

    def has_news(self, after: int) -> set[str] | None:
        """The channels that have events after a place; None where the store cannot tell.

        :raises BrokerUnavailable: the store did not answer in time.
        """
        found: set[str] = set()
        begins = after
        while True:
            answer = self.call(scripts.NEWS, after, begins, NEWS, line="reading")
            if not answer[2]:
                return None
            found.update(name.decode("utf-8") for name in answer[3][::2])
            if len(answer[3]) < 2 * NEWS:
                return found
            begins = int(answer[3][-1])

    def call(self, script: Script, *values: Any, line: str = "writing") -> Any:
        """A script's answer.

        :raises BrokerUnavailable: there was none within ``WAIT`` seconds.
        """
        self._check_open()
        using = self._reading if line == "reading" else self._writing
        return using.result(using.submit(script, self._told() + values))

    def ask(self, script: Script, *values: Any) -> Callable[[], Any]:
        """Put a call behind those that were asked before, at once; what is returned waits for its answer."""
        self._check_open()
        line = self._writing
        return partial(line.result, line.submit(script, self._told() + values))

    def _told(self) -> tuple[Any, ...]:
        """What every script is told."""
        return (1, self._life, *self._known, self._candidate, *self._history)

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


def _application(holder: str, told: str) -> Application:
    key, script_name, name = told.split("\n", 2)
    return Application(holder, name, key, script_name)


def _records(rows: Sequence[Any], channels: Sequence[str]) -> list[Record]:
    """Events as scripts give them: the number of the channel, sequence, body and key of each, in one list."""
    given = iter(rows)
    return [
        Record(int(sequence), channels[channel], body, key.decode("utf-8") or None)
        for channel, sequence, body, key in zip(given, given, given, given)
    ]
