"""The SQLite broker: all processes of one machine, and a history that outlives them.

    events    sequence, channel, at (Unix time), body, latest   the history, in its order; latest is the key of an
                                                            event that the next with it replaces
    channels  name, kept, floor                             events kept, newest one trimmed
    life      epoch, boot, forgotten, seconds, events, size one row: see below
    holds     key, holder, places, until                    places taken, by process
    elders    key, holder, since (Unix time)                the oldest of a process's places, where it shows it
    reports   holder, at (Unix time), figures               what processes say of themselves, in JSON
    presence  channel, user ("" is nobody), holder, streams who is there, by process
    present   holder, until                                 how long what a process said of that counts
    claims    key, until (Unix time)                        what may be used once, and was

``life.forgotten`` is the floor of every channel that has no row of its own any
more. ``seconds``, ``events`` and ``size`` are how much is kept, as the application said last:
a publisher beside it keeps to that. The newest event is never trimmed, so that
``max(sequence)`` is the head.

WAL mode with ``synchronous=NORMAL``: what is appended survives the crash of any
process. A power failure may take the last events; that is seen at the next start
(another boot, and a log that nobody closed) and begins a new epoch, so that no
client takes a number that was given twice for one that it has seen.

Only SQL and the thread that looks for news; no other engine, no streams.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import Any, Callable, Iterable, Iterator

from ..errors import BrokerClosed, BrokerUnavailable
from ..wire import Cursor
from . import base
from .base import Broker, History, Listener, Page, Record, Report, Streams, Wanted, log

#: Seconds between two looks for what other processes appended: while there is news, and when there
#: was none for ``CALM`` seconds. The look, one ``PRAGMA data_version``, takes some 5 µs; waking up for
#: it takes twenty times that, which is what an idle worker spends.
POLL = 0.005
IDLE_POLL = 0.015
CALM = 1.0

#: Seconds between two looks at whether the file is still the one that is open.
FILE_CHECK = 1.0

#: Trimming by age has a round after so many seconds, or so many appends, whichever is first.
TRIM_SECONDS = 1.0
TRIM_APPENDS = 100

#: Events that one look, and one round of trimming, take at most. Far over ``TRIM_APPENDS``,
#: so that trimming keeps up with any rate of appends without ever being long.
BATCH = 500

#: Floors kept of channels that have no event left; the lowest half goes at more.
FLOORS = 100_000

#: Seconds between two counts of them.
FLOORS_SECONDS = 60.0

_APPLICATION_ID = 0x53534D58  # "SSMX": this file is ours
_VERSION = 1

_SCHEMA = """
CREATE TABLE events (sequence INTEGER PRIMARY KEY, channel TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX events_of_channel ON events (channel, sequence);
CREATE TABLE channels (name TEXT PRIMARY KEY, kept INTEGER NOT NULL, floor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE life (epoch TEXT NOT NULL, boot TEXT NOT NULL, forgotten INTEGER NOT NULL,
                   seconds REAL NOT NULL, events INTEGER NOT NULL);
CREATE TABLE holds (key TEXT NOT NULL, holder TEXT NOT NULL, places INTEGER NOT NULL, until REAL NOT NULL,
                    PRIMARY KEY (key, holder)) WITHOUT ROWID;
"""

#: Came later: files of before them get them when they are opened.
_LATER = """
CREATE TABLE IF NOT EXISTS reports (holder TEXT PRIMARY KEY, at REAL NOT NULL, figures TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS elders (key TEXT NOT NULL, holder TEXT NOT NULL, since REAL NOT NULL,
                                   PRIMARY KEY (key, holder)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (key TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
-- Each claim forgets those that ran out: without this it looks at all of them (10,000: 1.6 ms, with the file locked).
CREATE INDEX IF NOT EXISTS claims_until ON claims (until);
CREATE TABLE IF NOT EXISTS presence (channel TEXT NOT NULL, user TEXT NOT NULL, holder TEXT NOT NULL,
                                     streams INTEGER NOT NULL, PRIMARY KEY (channel, user, holder)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS presence_of_holder ON presence (holder);
CREATE TABLE IF NOT EXISTS present (holder TEXT PRIMARY KEY, until REAL NOT NULL);
"""

_LATEST = """
ALTER TABLE events ADD COLUMN latest TEXT;
CREATE INDEX latest_of_channel ON events (channel, latest) WHERE latest IS NOT NULL;
"""

_SIZE = """
ALTER TABLE life ADD COLUMN size INTEGER NOT NULL DEFAULT %d;
""" % History().size

_RECORD = "sequence, channel, body, latest"


class SQLiteBroker(Broker):
    """Appends in one short transaction; one thread asks whether others did.

    :param path: the file; its folder is made when it is first opened.
    :param history: how much is kept; None takes what the file says.
    """

    def __init__(self, path: str, history: History | None = None) -> None:
        self.path = path
        self._history = history
        self._holder = base.new_holder()
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._poke = threading.Event()
        self._file: _File | None = None
        self._was: tuple[Any, str] = (None, "")
        self._closed = False

    def append(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        with self._opened() as file:
            with file.writing():
                cursor = file.append(channel, body, latest)
            file.trim_by_age()
        self._poke.set()
        return cursor

    def head(self) -> Cursor:
        with self._opened() as file:
            return file.head()

    def read(self, channels: Iterable[str], after: int, upto: int, limit: int) -> Page:
        with self._opened() as file, file.reading():
            names = list(channels)
            found = file.events_of(names, after, upto, limit)
            return Page(found, file.missing(names, after), len(found) < limit)

    def listen(self, listener: Listener) -> Cursor:
        start = self.head()
        thread = threading.Thread(target=_Tail(self, listener, start).run, name="ssemux-sqlite", daemon=True)
        thread.start()
        return start

    def want(self, channels: Iterable[str]) -> Wanted:
        with self._opened() as file:
            return file.wanted(list(channels))

    def hold(self, key: str, limit: int) -> bool:
        with self._opened() as file:
            with file.writing():
                taken = file.hold(key, self._holder, limit)
            if taken:
                self._held[key] += 1
            return taken

    def release(self, key: str) -> None:
        # Ours is the truth: what cannot be written now is written when places are renewed.
        self._held[key] -= 1
        if self._held[key] <= 0:
            del self._held[key]
        self._quietly(lambda file: file.set_places(key, self._holder, self._held[key]))

    def renew(self) -> None:
        self._quietly(lambda file: file.renew(self._holder, self._held))

    @property
    def holder(self) -> str:
        return self._holder

    def show_oldest(self, key: str, since: float | None) -> None:
        self._quietly(lambda file: file.show_oldest(key, self._holder, since))

    def oldest(self, key: str) -> str | None:
        with self._opened() as file:
            holders = file.oldest_first(key)
        return next((holder for holder in holders if not base.is_dead(holder)), None)

    def claim(self, key: str, seconds: float) -> bool:
        with self._opened() as file, file.writing():
            return file.claim(key, seconds)

    def report(self, figures: dict[str, Any]) -> None:
        text = json.dumps(figures)
        self._quietly(lambda file: file.report(self._holder, text))

    def reports(self) -> list[Report]:
        with self._opened() as file:
            rows = file.reports()
        return base.living(rows)

    def present(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        with self._opened() as file, file.writing():
            return file.present(self._holder, streams, lasts, anew)

    def presence(self, channel: str) -> dict[str, int]:
        with self._opened() as file:
            rows = file.presence(channel)
        return base.present(rows)

    def figures(self) -> dict[str, object]:
        with self._opened() as file:
            return {"broker": "sqlite", "file": self.path, "cursor": str(file.head()), **file.figures()}

    def close(self) -> None:
        if not self._closed:
            if self._file is not None:
                self._quietly(lambda file: file.say_no_more(self._holder))
            self._closed = True
            with self._lock:
                self._forget_file()
            self._poke.set()

    @contextmanager
    def _opened(self) -> Iterator[_File]:
        """The open file, with the lock held; a driver's error leaves as one of ours, after ``WAIT`` at most."""
        deadline = time.monotonic() + base.WAIT
        if not self._lock.acquire(timeout=base.WAIT):
            raise BrokerUnavailable("the SQLite store %s: busy for %g s" % (self.path, base.WAIT))
        try:
            if self._closed:
                raise BrokerClosed("the broker on %s is closed" % self.path)
            try:
                yield self._ready(deadline)
            except (sqlite3.Error, OSError) as error:
                if not _is_busy(error):  # then it is fine, and only somebody else's for now
                    self._forget_file()
                raise BrokerUnavailable("the SQLite store %s: %s" % (self.path, error)) from error
        finally:
            self._lock.release()

    def _ready(self, deadline: float) -> _File:
        if self._file is not None and not self._file.is_in_place():
            log.warning("%s was replaced or removed: its history begins anew", self.path)
            self._forget_file()
        if self._file is None:
            self._file = _File(self.path, self._history, deadline, self._was)
            self._was = self._file.place, self._file.epoch
        self._file.deadline = deadline
        return self._file

    def rest(self) -> None:
        if self._lock.acquire(timeout=base.WAIT):
            try:
                self._forget_file()
            finally:
                self._lock.release()

    def _forget_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _quietly(self, change: Callable[[_File], None]) -> None:
        try:
            with self._opened() as file, file.writing():
                change(file)
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("places or figures not written: %s", error)


class _File:
    """One open database file: all the SQL. Used with the broker's lock held.

    :param deadline: until when it may wait for others.
    :param was: place and epoch of the file that was open before.
    """

    def __init__(self, path: str, history: History | None, deadline: float, was: tuple[Any, str]) -> None:
        self._path = path
        self.deadline = deadline
        _create(path)
        crashed = _size(path + "-wal") > 0
        self._writer = _connect(path, deadline)
        self._reader = _connect(path, deadline)
        try:
            self.place = _place(path)
            # Another file with the epoch that we know is a copy of older days: its numbers would come twice.
            copied = was[1] if was[0] != self.place else ""
            self._prepare(history or History(), history is not None, crashed, copied)
            self._checked_at = time.monotonic()
            self._seen = -1
            self._appended = 0
            self._trimmed_at = self._forgot_at = 0.0
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._reader.close()
        self._writer.close()  # the last one to close moves the log into the file

    def is_in_place(self) -> bool:
        now = time.monotonic()
        if now - self._checked_at < FILE_CHECK:
            return True
        self._checked_at = now
        return _place(self._path) == self.place

    # -- transactions ------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        _patiently(self._writer, self.deadline, "BEGIN IMMEDIATE")
        try:
            yield
            _patiently(self._writer, self.deadline, "COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All statements within see the store as of one moment."""
        _patiently(self._reader, self.deadline, "BEGIN")
        try:
            yield
        finally:
            self._reader.execute("COMMIT")

    # -- history -----------------------------------------------------------

    def append(self, channel: str, body: bytes, latest: str | None) -> Cursor:
        write = self._writer.execute
        sequence: Any = write(
            "INSERT INTO events (channel, at, body, latest) VALUES (?, ?, ?, ?)", (channel, time.time(), body, latest)
        ).lastrowid
        write(
            "INSERT INTO channels SELECT ?, 1, forgotten FROM life WHERE true "
            "ON CONFLICT (name) DO UPDATE SET kept = kept + 1",
            (channel,),
        )
        if latest is not None:
            self._supersede(channel, latest, int(sequence))
        (kept,) = write("SELECT kept FROM channels WHERE name = ?", (channel,)).fetchone()
        if kept > self._history.events + self._history.events // 10:
            self._trim_by_count(channel)
        self._appended += 1
        return Cursor(self.epoch, int(sequence))

    def _supersede(self, channel: str, latest: str, sequence: int) -> None:
        """Drop the event that this one takes the place of; after it, or its number would be given again."""
        write = self._writer.execute
        gone = write(
            "DELETE FROM events WHERE channel = ? AND latest = ? AND sequence < ?", (channel, latest, sequence)
        ).rowcount
        if gone:
            write("UPDATE channels SET kept = kept - ? WHERE name = ?", (gone, channel))

    def head(self) -> Cursor:
        row = _patiently(self._reader, self.deadline, "SELECT max(sequence) FROM events").fetchone()
        return Cursor(self.epoch, row[0] or 0)

    def events_of(self, channels: list[str], after: int, upto: int, limit: int) -> list[Record]:
        """One indexed search for each channel, merged: cost grows with what is found."""
        found: list[Record] = []
        for channel in channels:
            found.extend(
                Record(*row)
                for row in self._reader.execute(
                    "SELECT " + _RECORD + " FROM events WHERE channel = ? AND sequence > ? "
                    "AND sequence <= ? ORDER BY sequence LIMIT ?",
                    (channel, after, upto, limit),
                )
            )
        found.sort()
        return found[:limit]

    def wanted(self, channels: list[str]) -> Wanted:
        """In one statement, so that it needs no transaction: most streams that open ask for their user's channel."""
        rows = _patiently(
            self._reader,
            self.deadline,
            "SELECT head, " + _RECORD + " FROM (SELECT max(sequence) AS head FROM events) "
            "LEFT JOIN events ON channel IN (%s) AND latest IS NOT NULL" % ", ".join("?" * len(channels)),
            tuple(channels),
        ).fetchall()
        found = [Record(*row) for _, *row in rows if row[0] is not None]
        return Wanted(rows[0][0] or 0, sorted(found))

    def missing(self, channels: list[str], after: int) -> list[str]:
        (forgotten,) = self._reader.execute("SELECT forgotten FROM life").fetchone()
        floor_of = "SELECT floor FROM channels WHERE name = ?"
        floors = ((name, self._reader.execute(floor_of, (name,)).fetchone()) for name in channels)
        return [name for name, row in floors if (row[0] if row else forgotten) > after]

    def is_changed(self) -> bool:
        """Whether any other connection, of this process or not, committed since the last call."""
        (seen,) = _patiently(self._reader, self.deadline, "PRAGMA data_version").fetchone()
        before, self._seen = self._seen, int(seen)
        return self._seen != before

    def news(self, after: int) -> tuple[list[Record], list[str]]:
        """What was appended after a place; and channels of which a part of it is already trimmed."""
        rows = _patiently(
            self._reader,
            self.deadline,
            "SELECT " + _RECORD + " FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
            (after, BATCH),
        )
        found = [Record(*row) for row in rows]
        if not found or found[-1].sequence - after == len(found):
            return found, []
        gone = self._reader.execute(
            "SELECT name FROM channels WHERE floor > ? AND floor < ?", (after, found[-1].sequence)
        )
        return found, [name for (name,) in gone]

    # -- trimming ----------------------------------------------------------

    def _trim_by_count(self, channel: str) -> None:
        write = self._writer.execute
        (floor,) = write(
            "SELECT sequence FROM events WHERE channel = ? ORDER BY sequence DESC LIMIT 1 OFFSET ?",
            (channel, self._history.events),
        ).fetchone()
        write("DELETE FROM events WHERE channel = ? AND sequence <= ?", (channel, floor))
        write("UPDATE channels SET kept = ?, floor = ? WHERE name = ?", (self._history.events, floor, channel))

    def trim_by_age(self) -> None:
        """One round, if it is time for one. The event just appended is safe: failing is no failure."""
        now = time.monotonic()
        if self._appended < TRIM_APPENDS and now - self._trimmed_at < TRIM_SECONDS:
            return
        self._appended, self._trimmed_at = 0, now
        try:
            with self.writing():
                self._trim_round()
                if now - self._forgot_at >= FLOORS_SECONDS:
                    self._forgot_at = now
                    self._forget_floors()
        except sqlite3.Error as error:
            log.warning("old events were not trimmed: %s", error)

    def _trim_round(self) -> None:
        write = self._writer.execute
        oldest = time.time() - self._history.seconds
        rows = write(
            "SELECT sequence, channel, at FROM events WHERE sequence < (SELECT max(sequence) FROM events) "
            "ORDER BY sequence LIMIT ?",
            (BATCH,),
        ).fetchall()
        old = [(sequence, channel) for sequence, channel, at in rows if at < oldest]
        for sequence, channel in old:
            write("DELETE FROM events WHERE sequence = ?", (sequence,))
            write("UPDATE channels SET kept = kept - 1, floor = ? WHERE name = ?", (sequence, channel))

    def _forget_floors(self) -> None:
        write = self._writer.execute
        (empty,) = write("SELECT count(*) FROM channels WHERE kept = 0").fetchone()
        if empty > FLOORS:
            (floor,) = write(
                "SELECT floor FROM channels WHERE kept = 0 ORDER BY floor LIMIT 1 OFFSET ?", (empty // 2,)
            ).fetchone()
            write("UPDATE life SET forgotten = max(forgotten, ?)", (floor,))
            write("DELETE FROM channels WHERE kept = 0 AND floor <= ?", (floor,))

    # -- places ------------------------------------------------------------

    def hold(self, key: str, holder: str, limit: int) -> bool:
        write = self._writer.execute
        if self._places(key) >= limit:
            self._bury(key)
            if self._places(key) >= limit:
                return False
        write(
            "INSERT INTO holds VALUES (?, ?, 1, ?) ON CONFLICT (key, holder) DO UPDATE SET places = places + 1",
            (key, holder, time.time() + base.HOLD_SECONDS),
        )
        return True

    def set_places(self, key: str, holder: str, places: int) -> None:
        write = self._writer.execute
        if places:
            write("UPDATE holds SET places = ? WHERE key = ? AND holder = ?", (places, key, holder))
        else:
            write("DELETE FROM holds WHERE key = ? AND holder = ?", (key, holder))

    def release_all(self, holder: str) -> None:
        self._writer.execute("DELETE FROM holds WHERE holder = ?", (holder,))
        self._writer.execute("DELETE FROM elders WHERE holder = ?", (holder,))

    def renew(self, holder: str, held: dict[str, int]) -> None:
        now = time.time()
        self._writer.execute("DELETE FROM holds WHERE holder = ? OR until < ?", (holder, now))
        self._writer.executemany(
            "INSERT INTO holds VALUES (?, ?, ?, ?)",
            [(key, holder, places, now + base.HOLD_SECONDS) for key, places in held.items()],
        )
        self._writer.execute("DELETE FROM elders WHERE holder NOT IN (SELECT holder FROM holds)")

    def show_oldest(self, key: str, holder: str, since: float | None) -> None:
        if since is None:
            self._writer.execute("DELETE FROM elders WHERE key = ? AND holder = ?", (key, holder))
        else:
            self._writer.execute("INSERT OR REPLACE INTO elders VALUES (?, ?, ?)", (key, holder, since))

    def oldest_first(self, key: str) -> list[str]:
        rows = _patiently(
            self._reader,
            self.deadline,
            "SELECT holder FROM holds LEFT JOIN elders USING (key, holder) WHERE key = ? AND until >= ? "
            "ORDER BY coalesce(since, 0)",
            (key, time.time()),
        )
        return [holder for (holder,) in rows]

    def _places(self, key: str) -> int:
        (places,) = self._writer.execute(
            "SELECT coalesce(sum(places), 0) FROM holds WHERE key = ? AND until >= ?", (key, time.time())
        ).fetchone()
        return int(places)

    def _bury(self, key: str) -> None:
        holders = self._writer.execute("SELECT DISTINCT holder FROM holds WHERE key = ?", (key,)).fetchall()
        for (holder,) in holders:
            if base.is_dead(holder):
                self.release_all(holder)

    def claim(self, key: str, seconds: float) -> bool:
        now = time.time()
        self._writer.execute("DELETE FROM claims WHERE until <= ?", (now,))
        row = (key, now + seconds)
        return self._writer.execute("INSERT OR IGNORE INTO claims VALUES (?, ?)", row).rowcount == 1

    # -- reports -----------------------------------------------------------

    def report(self, holder: str, text: str) -> None:
        now = time.time()
        self._writer.execute("DELETE FROM reports WHERE at < ?", (now - base.REPORT_LASTS,))
        self._writer.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", (holder, now, text))

    def reports(self) -> list[tuple[str, float, str]]:
        now = time.time()
        rows = _patiently(
            self._reader,
            self.deadline,
            "SELECT holder, ? - at, figures FROM reports WHERE at >= ?",
            (now, now - base.REPORT_LASTS),
        )
        return [(holder, age, text) for holder, age, text in rows]

    # -- who is there ------------------------------------------------------

    def present(self, holder: str, streams: Streams, lasts: float, anew: bool) -> bool:
        write, now = self._writer.execute, time.time()
        self._forget_absent(now)
        was_there = write("SELECT 1 FROM present WHERE holder = ?", (holder,)).fetchone() is not None
        if anew:
            self._forget_presence(holder)
        write("INSERT OR REPLACE INTO present VALUES (?, ?)", (holder, now + lasts))
        for (channel, user), count in streams.items():
            if count:
                write("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", (channel, user, holder, count))
            else:
                write("DELETE FROM presence WHERE channel = ? AND user = ? AND holder = ?", (channel, user, holder))
        return was_there

    def presence(self, channel: str) -> list[tuple[str, str, int]]:
        rows = _patiently(
            self._reader,
            self.deadline,
            "SELECT holder, user, streams FROM presence JOIN present USING (holder) WHERE channel = ? AND until > ?",
            (channel, time.time()),
        )
        return [(holder, user, streams) for holder, user, streams in rows]

    def _forget_absent(self, now: float) -> None:
        for holder, until in self._writer.execute("SELECT holder, until FROM present").fetchall():
            if until <= now or base.is_dead(holder):
                self._forget_presence(holder)

    def _forget_presence(self, holder: str) -> None:
        self._writer.execute("DELETE FROM presence WHERE holder = ?", (holder,))
        self._writer.execute("DELETE FROM present WHERE holder = ?", (holder,))

    def say_no_more(self, holder: str) -> None:
        self.release_all(holder)
        self._forget_presence(holder)
        self._writer.execute("DELETE FROM reports WHERE holder = ?", (holder,))

    # -- the file ----------------------------------------------------------

    def figures(self) -> dict[str, object]:
        read = self._reader.execute
        return {
            "events": read("SELECT count(*) FROM events").fetchone()[0],
            "channels": read("SELECT count(*) FROM channels WHERE kept > 0").fetchone()[0],
            "held": read("SELECT coalesce(sum(places), 0) FROM holds WHERE until >= ?", (time.time(),)).fetchone()[0],
            "bytes": _size(self._path) + _size(self._path + "-wal"),
        }

    def _prepare(self, history: History, said: bool, crashed: bool, copied: str) -> None:
        boot = base.boot_id()
        with self.writing():
            self._make_or_check(history, boot)
            self._make_what_came_later()
            epoch, last_boot, *kept = self._writer.execute(
                "SELECT epoch, boot, seconds, events, size FROM life"
            ).fetchone()
            if (last_boot != boot and crashed) or epoch == copied:
                epoch = base.new_epoch()
            self._writer.execute("UPDATE life SET epoch = ?, boot = ?", (epoch, boot))
            if said and History(*kept) != history:
                self._writer.execute("UPDATE life SET seconds = ?, events = ?, size = ?", history)
        self.epoch: str = epoch
        self._history = history if said else History(*kept)

    def _make_what_came_later(self) -> None:
        missing = "" if self._has_column("events", "latest") else _LATEST
        missing += "" if self._has_column("life", "size") else _SIZE
        for statement in (_LATER + missing).split(";")[:-1]:
            self._writer.execute(statement)

    def _has_column(self, table: str, column: str) -> bool:
        return column in [name for _, name, *_ in self._writer.execute("PRAGMA table_info(%s)" % table)]

    def _make_or_check(self, history: History, boot: str) -> None:
        (owner,) = self._writer.execute("PRAGMA application_id").fetchone()
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if (owner, version) == (_APPLICATION_ID, _VERSION):
            return
        if owner or self._writer.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise sqlite3.DatabaseError(
                "is a database of something else, or of another version of flask_ssemux; "
                "give the broker a file of its own in SSEMUX_BROKER"
            )
        for statement in _SCHEMA.split(";")[:-1]:
            self._writer.execute(statement)
        self._writer.execute("INSERT INTO life VALUES (?, ?, 0, ?, ?)", (base.new_epoch(), boot) + history[:2])
        self._writer.execute("PRAGMA application_id = %d" % _APPLICATION_ID)
        self._writer.execute("PRAGMA user_version = %d" % _VERSION)


class _Tail:
    """The one thread that looks for news and tells the listener; it survives every error."""

    def __init__(self, broker: SQLiteBroker, listener: Listener, start: Cursor) -> None:
        self._broker = broker
        self._listener = listener
        self._at = start
        self._behind = True
        self._news_at = 0.0
        self._lost = False

    def run(self) -> None:
        broker, pause = self._broker, POLL
        while not broker._closed:
            broker._poke.wait(pause)
            broker._poke.clear()
            try:
                self._look()
                pause = POLL if time.monotonic() < self._news_at + CALM else IDLE_POLL
            except BrokerClosed:
                return
            except BrokerUnavailable as error:
                self._tell_lost(str(error))
                pause = min(1.0, pause * 2)
            except Exception:
                log.exception("delivery from the SQLite broker failed")

    def _look(self) -> None:
        with self._broker._opened() as file:
            self._behind |= file.is_changed()
            renewed = file.epoch != self._at.epoch
            if renewed:
                self._at = file.head()
        self._tell_found()
        if renewed:
            self._listener.renewed(self._at)
        while self._behind:
            self._take_batch()

    def _take_batch(self) -> None:
        with self._broker._opened() as file, file.reading():
            records, gone = file.news(self._at.sequence)
        self._behind = len(records) == BATCH
        if records:
            self._at = Cursor(self._at.epoch, records[-1].sequence)
            self._news_at = time.monotonic()
        if gone:
            self._listener.gap(gone, self._at)
        if records:
            self._listener.deliver(records)

    def _tell_lost(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._listener.lost(reason)

    def _tell_found(self) -> None:
        if self._lost:
            self._lost = False
            self._listener.found()


def _create(path: str) -> None:
    """An empty file that only its owner reads: events are nobody else's."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass


def _connect(path: str, deadline: float) -> sqlite3.Connection:
    # timeout=0: SQLite's own wait would stop every greenlet of the worker; we wait in Python.
    made = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        _patiently(made, deadline, "PRAGMA journal_mode = WAL")
        made.execute("PRAGMA synchronous = NORMAL")
        made.execute("PRAGMA journal_size_limit = 16777216")
    except BaseException:
        made.close()
        raise
    return made


def _patiently(connection: sqlite3.Connection, deadline: float, statement: str, values: tuple[Any, ...] = ()) -> Any:
    """Run a statement that may find the store busy, until the deadline."""
    pause = 0.0005
    while True:
        try:
            return connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() + pause > deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def _is_busy(error: Exception) -> bool:
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


def _place(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
