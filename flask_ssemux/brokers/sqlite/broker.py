"""The broker itself: the contract's methods, and the one lock under which the file is used. No SQL."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from typing import Any, Callable, Iterable, Iterator, Mapping

from ...errors import BrokerClosed, BrokerUnavailable
from ...sse.encode import Cursor
from ...util import threads
from .. import base
from ..base import Application, Broker, Floors, History, Listener, Part, Range, Report, Streams, Wanted, log
from .connection import is_busy, is_full, mark_inherited, may_be_full
from .file import File, Known
from .leap import Voids
from .reserve import Reserve
from .tail import Tail

#: Seconds that a fork waits for another thread that uses the file. Under gevent it does not wait.
FORK_WAIT = 0.1

#: Files that a child inherited while they were used. They are kept for ever: to close one would run its statements.
_inherited: list[File] = []


class SQLiteBroker(Broker):
    """Appends in one short transaction; one thread asks whether others did.

    :param path: the file; its folder is made when it is first opened.
    :param history: how much is kept; None takes what the file says.
    """

    def __init__(self, path: str, history: History | None = None) -> None:
        self.path = path
        self.store_name = "sqlite:///" + os.path.realpath(path)
        self._history = history
        self._holder = base.new_holder()
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._poke = threading.Event()
        self._file: File | None = None
        self._was = Known()
        self._voids = Voids()
        self._reserve: Reserve | None = None
        self._closed = False
        self._is_resting = self._is_disturbed = False

    def append_event(self, channel: str, body: bytes, latest: str | None = None) -> Cursor:
        with self._opened() as file:
            cursor = file.change(lambda: file.events.append(channel, body, latest), len(body) or 1)
            file.events.notice(cursor.sequence)
            file.trimming.trim_if_due(len(body))
        self._poke.set()
        return cursor

    def get_newest_cursor(self) -> Cursor:
        with self._opened() as file:
            return file.events.head()

    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, Part]:
        with self._opened() as file, file.reading():
            return file.past.read_channels(ranges, limit, size)

    def get_floors(self, channels: Iterable[str]) -> Floors:
        with self._opened() as file, file.reading():
            return Floors(file.events.head(), file.past.floors(channels))

    def has_lost(self, cursor: Cursor) -> bool:
        return self._voids.has(cursor)

    def start_delivery(self, listener: Listener) -> Cursor:
        start = self.get_newest_cursor()
        thread = threading.Thread(target=Tail(self, listener, start).run, name="ssemux-sqlite", daemon=True)
        thread.start()
        return start

    def subscribe_channels(self, channels: Iterable[str]) -> Wanted:
        with self._opened() as file:
            return file.events.wanted(list(channels))

    def take_user_slot(self, key: str, limit: int) -> bool:
        with self._opened() as file:
            taken = file.change(lambda: file.places.hold(key, self._holder, limit))
            if taken:
                self._held[key] += 1
            return taken

    def release_user_slot(self, key: str) -> None:
        # Ours is the truth: what cannot be written now is written when places are renewed.
        self._held[key] -= 1
        if self._held[key] <= 0:
            del self._held[key]
        self._quietly(lambda file: file.places.set_places(key, self._holder, self._held[key]))

    def renew_leases(self) -> None:
        self._quietly(lambda file: file.places.renew(self._holder, self._held))

    @property
    def process_name(self) -> str:
        return self._holder

    def announce_oldest_slot(self, key: str, since: float | None) -> None:
        self._quietly(lambda file: file.places.show_oldest(key, self._holder, since))

    def find_oldest_slot_holder(self, key: str) -> str | None:
        with self._opened() as file:
            holders = file.places.oldest_first(key)
        return next((holder for holder in holders if not base.is_dead(holder)), None)

    def use_one_time_key(self, key: str, seconds: float) -> bool:
        with self._opened() as file:
            return file.change(lambda: file.places.claim(key, seconds))

    def register_application(self, name: str, key: str, script_name: str = "") -> list[Application]:
        application = Application(self._holder, name, key, script_name)
        with self._opened() as file:
            return file.change(lambda: file.applications.enroll(application))

    def write_report(self, figures: dict[str, Any]) -> None:
        text = json.dumps(figures)
        self._quietly(lambda file: file.presence.report(self._holder, text))

    def read_reports(self) -> list[Report]:
        with self._opened() as file:
            rows = file.presence.reports()
        return base.living(rows)

    def announce_presence(self, streams: Streams, lasts: float, anew: bool = False) -> bool:
        with self._opened() as file:
            return file.change(lambda: file.presence.present(self._holder, streams, lasts, anew))

    def get_presence(self, channel: str) -> dict[str, int]:
        with self._opened() as file:
            rows = file.presence.presence(channel)
        return base.present(rows)

    def get_figures(self) -> dict[str, object]:
        with self._opened() as file:
            return {"broker": "sqlite", "file": self.path, "cursor": str(file.events.head()), **file.figures()}

    def close(self) -> None:
        if not self._closed:
            if self._file is not None:
                self._quietly(lambda file: file.say_no_more(self._holder))
            self._closed = True
            with self._lock:
                self._forget_file()
            self._poke.set()

    @contextmanager
    def _opened(self) -> Iterator[File]:
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
                if not is_busy(error) and not is_full(error):  # then the file is fine
                    self._forget_file()
                raise BrokerUnavailable("the SQLite store %s: %s" % (self.path, error)) from error
        finally:
            self._lock.release()

    def _ready(self, deadline: float) -> File:
        if self._file is not None and not self._file.is_in_place():
            log.warning("%s was replaced or removed: its history begins anew", self.path)
            self._forget_file()
        if self._file is None:
            try:
                self._file = self._open(deadline)
            except BaseException:
                self._forget_file()
                raise
        self._file.deadline = deadline
        return self._file

    # -- forks: SQLite's locks are the process's, and a child that inherits a connection has them in name only --------

    def prepare_fork(self) -> None:
        """Close the file, and keep others from opening it until the fork is over."""
        if threads.is_home():
            self._rest()
            return
        try:
            threads.carry_out(self._rest, FORK_WAIT, base.WAIT, waits=False)
        except (threads.NotTaken, threads.Unanswered):
            pass  # the child is refused the file

    def _rest(self) -> None:
        if threads.acquire_soon(self._lock, FORK_WAIT):
            self._is_resting = True
            self._close_file()
        elif threads.runs_greenlets() and self._file is not None:
            self._is_disturbed = True
            self._file.begin_rest()  # whoever has the lock waits for others: no statement of theirs is being run

    def finish_fork(self) -> None:
        threads.call_soon(self._go_on)

    def _go_on(self) -> None:
        was_resting, self._is_resting = self._is_resting, False
        was_disturbed, self._is_disturbed = self._is_disturbed, False
        if was_resting:
            self._lock.release()
        elif was_disturbed and self._file is not None:
            self._file.end_rest()

    def disown(self) -> None:
        self._closed = True
        is_open = self._file is not None and not self._is_disturbed
        if is_open and threads.is_home() and self._lock.acquire(False):  # nobody was using it: as in uWSGI's master
            self._close_file()
        elif is_open and self._file is not None:
            _inherited.append(self._file)
            mark_inherited(self._file.place)

    def _open(self, deadline: float) -> File:
        if self._reserve is None:
            # What SQLite puts beside the file is beside the one that a link names.
            self._reserve = Reserve(os.path.realpath(self.path))
        file = partial(File, self._reserve, self._history, deadline, self._was, self._voids)
        try:
            return file()
        except sqlite3.OperationalError as error:
            if not may_be_full(error):
                raise
        self._reserve.release()
        return file()

    def _forget_file(self) -> None:
        self._close_file()
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    def _close_file(self) -> None:
        if self._file is not None:
            self._was = self._file.known
            self._file.close()
            self._file = None

    def _quietly(self, change: Callable[[File], None]) -> None:
        try:
            with self._opened() as file:
                file.change(lambda: change(file))
        except (BrokerUnavailable, BrokerClosed) as error:
            log.debug("places or figures not written: %s", error)
