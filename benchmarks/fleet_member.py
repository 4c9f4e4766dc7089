"""The processes of a fleet: simulated workers, publishers, and others to compare with.

    python -m benchmarks.fleet_member SOCKET URL

It reads "KIND COUNT CORE" from its standard input, and forks so many processes of this kind, as gunicorn forks workers:
gevent has patched the standard library, and each process makes its broker after the fork. Each connects to the socket,
says who it is, and then answers commands: JSON, one line each.

A simulated worker uses the broker as a worker does: it subscribes to channels, receives events, renews leases and
writes reports. It has no clients: it notes when each event came.
"""

from __future__ import annotations

from gevent import monkey
from gevent.os import fork

monkey.patch_all()

import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from typing import Any, Callable, Iterator, Sequence, Tuple  # noqa: E402

from flask_ssemux.brokers import (  # noqa: E402
    LEASE_SECONDS,
    REPORT_INTERVAL,
    HistoryLimits,
    Listener,
    NewEvent,
    Record,
    open_broker,
)  # fmt: skip
from flask_ssemux.errors import BrokerUnavailable  # noqa: E402
from flask_ssemux.publishing.revocation import EVICTION_CHANNEL, REVOCATION_CHANNEL, SLOTS_CHANNEL  # noqa: E402
from flask_ssemux.sse import encode  # noqa: E402

from . import event, process  # noqa: E402

#: Channels in one request: as many streams as a busy worker opens together, and as its delivery subscribes again.
PART = 500

#: What a worker reads besides its users' channels.
COMMON = (encode.EVERYONE, REVOCATION_CHANNEL, EVICTION_CHANNEL, SLOTS_CHANNEL)

#: SSEMUX_MAX_STREAMS_PER_USER.
USER_LIMIT = 32

#: Events that are stored by one call, where only their number counts.
BATCH = 500

#: The sequence of an event, when its publishing began, and the seconds that it took.
Published = Tuple[int, float, float]


class Worker:
    """Answers the commands to a simulated worker."""

    def __init__(self, url: str) -> None:
        self._broker = open_broker(url, HistoryLimits())
        self._seen: list[tuple[int, float]] = []
        self._users = 0
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        listener = Listener(self._deliver, nothing, nothing, nothing, nothing)
        self._broker.history.start_delivery(listener)
        self._broker.history.subscribe_channels(COMMON)
        self._broker.leases.share_user_slots(USER_LIMIT)
        threading.Thread(target=self._repeat, args=(REPORT_INTERVAL, self._report), daemon=True).start()
        threading.Thread(
            target=self._repeat, args=(LEASE_SECONDS / 3, self._broker.leases.renew_leases), daemon=True
        ).start()

    def subscribe(self, first: int, count: int) -> float:
        """Subscribe to the channels of so many users; return the seconds that it took."""
        began = time.monotonic()
        for start in range(first, first + count, PART):
            users = range(start, min(start + PART, first + count))
            self._broker.history.subscribe_channels([encode.user_channel(user) for user in users])
        self._users += count
        return time.monotonic() - began

    def count_seen(self) -> int:
        return len(self._seen)

    def take_seen(self) -> list[tuple[int, float]]:
        """Return the sequence of each event that came since the last call, and when it came."""
        seen, self._seen = self._seen, []
        return seen

    def _deliver(self, records: Sequence[Record]) -> None:
        now = time.monotonic()
        self._seen.extend((record.sequence, now) for record in records)

    def _report(self) -> None:
        figures = {"name": self._broker.process_name, "streams": self._users, "pid": os.getpid(), "at": time.time()}
        self._broker.reports.write_report({**figures, "past": [(int(time.time()), self._users, 0)] * 10})

    def _repeat(self, seconds: float, function: Callable[[], None]) -> None:
        time.sleep(seconds * (os.getpid() % 100) / 100)  # the workers of a deployment are not in step
        while True:
            function()
            time.sleep(seconds)


class Publisher:
    """Answers the commands to a process that publishes."""

    def __init__(self, url: str) -> None:
        self._broker = open_broker(url, HistoryLimits())

    def fill(self, first: int, count: int) -> float:
        """Store one event for each of so many users; return the seconds that it took."""
        began = time.monotonic()
        for start in range(first, first + count, BATCH):
            channels = map(encode.user_channel, range(start, min(start + BATCH, first + count)))
            self._broker.history.append_events([NewEvent(channel, _make_body(channel), None) for channel in channels])
        return time.monotonic() - began

    def publish(self, users: int, seed: int, rate: float, seconds: float, events: int, callers: int) -> list[Published]:
        """Publish until the time is over, or until there were so many events.

        :param users: the events go to users of so many, one each; 0: all go to everyone.
        :param rate: events a second of all callers together; 0: as many as possible.
        :param callers: greenlets that publish at the same time.
        :return: of each event that was accepted its sequence, when its publishing began, and the seconds that took.
        """
        until = time.monotonic() + seconds
        published: list[Published] = []
        numbers = iter(range(events))
        threads = [
            threading.Thread(target=self._call, args=(users, seed, numbers, rate / callers, until, published))
            for _ in range(callers)
        ]
        for number, thread in enumerate(threads):
            thread.start()
            time.sleep(number and rate and 1 / rate)
        for thread in threads:
            thread.join()
        return published

    def _call(
        self,
        users: int,
        seed: int,
        numbers: Iterator[int],
        rate: float,
        until: float,
        to: list[tuple[int, float, float]],
    ) -> None:
        due = time.monotonic()
        for number in numbers:
            if rate:
                time.sleep(max(0.0, due - time.monotonic()))
                due += 1 / rate
            began = time.monotonic()
            if began > until:
                return
            # A number that is prime to that of the users: the events go to all parts of the fleet.
            channel = encode.user_channel((seed + number) * 7_368_787 % users) if users else encode.EVERYONE
            try:
                to.append((self._store_event(channel, _make_body(channel)), began, time.monotonic() - began))
            except BrokerUnavailable:
                time.sleep(0.01)  # it is missing in the answer

    def _store_event(self, channel: str, body: bytes) -> int:
        return self._broker.history.append_event(channel, body).sequence


class Inserter(Publisher):
    """Inserts rows into the table ``plain`` instead, each in a transaction of its own, as applications do."""

    def __init__(self, url: str) -> None:
        import psycopg

        server, _, mode = url.partition("?synchronous_commit=")
        self._connection = psycopg.connect(server, autocommit=True)
        self._connection.execute("SET synchronous_commit = " + (mode or "on"))

    def _store_event(self, channel: str, body: bytes) -> int:
        statement = "INSERT INTO plain (channel, body) VALUES (%s, %s) RETURNING id"
        return int(self._connection.execute(statement, (channel, body)).fetchone()[0])


class Notifier(Inserter):
    """Inserts rows and notifies of each: the least that lets other processes hear of it at once."""

    def _store_event(self, channel: str, body: bytes) -> int:
        statement = (
            "WITH one AS (INSERT INTO plain (channel, body) VALUES (%s, %s) RETURNING id) "
            "SELECT id, pg_notify('plain', id || ' ' || %s) FROM one"
        )
        return int(self._connection.execute(statement, (channel, body, channel)).fetchone()[0])


class Hearer:
    """Hears of these rows, and does nothing."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._connection = psycopg.connect(url.partition("?")[0], autocommit=True)
        self._connection.execute("LISTEN plain")
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        for _ in self._connection.notifies():
            pass


KINDS: dict[str, Callable[[str], Any]] = {
    "worker": Worker, "publisher": Publisher, "inserter": Inserter, "notifier": Notifier, "hearer": Hearer,
}  # fmt: skip


def _make_body(channel: str) -> bytes:
    return encode.make_body(channel, event.make_data(), event.NAME, 1024)


def _serve(path: str, url: str, kind: str) -> None:
    """Answer commands until the fleet hangs up."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(path)
        member = KINDS[kind](url)
        link.sendall(json.dumps([kind, os.getpid()]).encode() + b"\n")
        for line in link.makefile("r", encoding="utf-8"):
            name, values = json.loads(line)
            link.sendall(json.dumps(getattr(member, name)(**values)).encode() + b"\n")


def main(path: str, url: str) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()  # as gunicorn's hook does
    while True:
        words = os.read(0, 64).decode().split()  # each request waits for the processes of the one before
        if not words:
            return
        core = int(words[2])
        pin = process.pin_child(None if core < 0 else core)
        for _ in range(int(words[1])):
            if not fork():
                try:
                    pin()
                    _serve(path, url, words[0])
                finally:
                    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
