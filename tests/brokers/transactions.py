"""Processes of an application whose transactions have events, and of workers that read these. Tests kill some of them.

``python -m tests.brokers.transactions write BROKER_URL TABLE NUMBER…`` runs the transactions of these numbers, one
after another. Each inserts its number into a table of the application, and publishes events with pauses between them;
half of the transactions are rolled back. An event that is not part of a transaction follows each of them. It prints
``<number> begins`` after the first event, ``<number> ends`` before the commit or the rollback, and ``beside <number>``
after the event that follows.

``python -m tests.brokers.transactions read BROKER_URL`` prints the sequence and the data of each event, until its
standard input ends.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from typing import NamedTuple, Sequence

CHANNELS = ("c0", "c1", "c2")


class Plan(NamedTuple):
    """What one transaction does: the same in each process that asks for its number."""

    number: int
    is_committed: bool
    pauses: Sequence[float]

    @property
    def texts(self) -> list[str]:
        return ["%d.%d" % (self.number, step) for step in range(len(self.pauses))]


def make_plan(number: int) -> Plan:
    chance = random.Random(number)
    is_committed = chance.random() < 0.5
    return Plan(number, is_committed, [chance.uniform(0, 0.02) for _ in range(chance.randrange(1, 5))])


class Process:
    """One of these processes, and the lines that it has printed."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, "-m", __name__, *map(str, words)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._kill_after: str | None = None
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for line in self._process.stdout:  # type: ignore[union-attr]
            self.lines.append(line.strip())
            if self.lines[-1] == self._kill_after:
                self._process.kill()

    def kill_after(self, line: str) -> None:
        """Kill it as soon as it prints this line."""
        self._kill_after = line

    def end(self) -> int:
        """Let a reader end; wait until it has ended, and return its exit status."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._thread.join(60)
        self._process.stdout.close()  # type: ignore[union-attr]
        return self._process.wait()


def say(*words: object) -> None:
    print(*words, flush=True)


def write(url: str, table: str, numbers: Sequence[str]) -> None:
    import psycopg

    from flask_ssemux import Publisher

    with Publisher(url) as publisher, psycopg.connect(url.partition("?")[0], application_name=table) as connection:
        for number in map(int, numbers):
            run_transaction(publisher, connection, table, make_plan(number))
            publisher.publish("c0", "beside %d" % number)
            say("beside", number)


def run_transaction(publisher, connection, table: str, plan: Plan) -> None:
    connection.execute("INSERT INTO %s VALUES (%d)" % (table, plan.number))
    for step, pause in enumerate(plan.pauses):
        channel = CHANNELS[plan.number % len(CHANNELS)]
        publisher.publish(channel, plan.texts[step], session=connection)
        if not step:
            say(plan.number, "begins")
        time.sleep(pause)
    say(plan.number, "ends")
    if plan.is_committed:
        connection.commit()
    else:
        connection.rollback()


def read(url: str) -> None:
    from flask_ssemux.brokers import Listener, open_broker

    def deliver(records):
        for record in records:
            say(record.sequence, record.body.split(b"data: ")[1].decode().strip())

    def fail(*found):
        say("a reader lost something:", *found)

    broker = open_broker(url)
    broker.history.start_delivery(Listener(deliver, fail, fail, fail, lambda: None))
    broker.history.subscribe_channels(CHANNELS)
    say("reads")
    sys.stdin.read()
    broker.close()


if __name__ == "__main__":
    kind, its_url, *rest = sys.argv[1:]
    write(its_url, rest[0], rest[1:]) if kind == "write" else read(its_url)
