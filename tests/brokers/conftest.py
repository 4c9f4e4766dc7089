"""Brokers for the tests: fixtures by the engines' names open them; they are closed after the test."""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from tests.brokers.recorder import Recorder

# By their names the suites are not test modules: pytest rewrites their assertions only if they are registered.
pytest.register_assert_rewrite("tests.brokers.suites")

#: The engines on which tests run that use the fixtures ``make`` or ``broker`` and are not of a suite.
ENGINES = ("memory", "sqlite", "redis", "postgres")


def pretend_other_host(broker):
    """Give a broker the name of a process on another host: other brokers do not know whether it is alive."""
    broker.process_name = "another-host/1/abcdefgh"
    for part in (broker.history, broker.leases, broker.presence, broker.reports, broker.work):
        part._process_name = broker.process_name


@pytest.fixture
def opened():
    brokers = []
    yield brokers.append
    for broker in brokers:
        broker.close()


@pytest.fixture
def sqlite_url(tmp_path):
    return "sqlite:///%s" % (tmp_path / "ssemux.sqlite3")


@pytest.fixture
def memory(opened):
    def make(**history):
        broker = open_broker("memory:", HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def sqlite(opened, sqlite_url):
    def make(**history):
        broker = open_broker(sqlite_url, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def redis(opened, redis_url):
    def make(**history):
        broker = open_broker(redis_url, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def postgres(opened, postgres_url):
    def make(**history):
        broker = open_broker(postgres_url, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def travel(monkeypatch, request):
    """travel(broker, seconds): put all clocks forward, also the server's."""

    def go(broker, seconds):
        if type(broker).__name__ == "RedisBroker":
            make_older(request.getfixturevalue("shared_redis"), request.getfixturevalue("redis_url"), seconds)
        if type(broker).__name__ == "PostgresBroker":
            make_rows_older(*map(request.getfixturevalue, ("shared_postgres", "postgres_url")), seconds)
        for name in ("time", "monotonic"):
            now = getattr(time, name)
            monkeypatch.setattr(time, name, lambda now=now: now() + seconds)

    return go


def make_older(server, url, seconds):
    """Make all that the server keeps older, in place of putting its clock forward."""
    keys = "{%s}:" % (url.partition("?prefix=")[2] or "ssemux")
    back = int(seconds * 1000)
    server.ask("HINCRBY", keys + "life", "at", -back)
    for index, mark in enumerate(server.ask("LRANGE", keys + "clock", 0, -1)):
        at, sequence = mark.split()
        server.ask("LSET", keys + "clock", index, "%d %s" % (int(at) - back, sequence))
    for holder in server.ask("HKEYS", keys + "present"):
        till, _, run = server.ask("HGET", keys + "present", holder).partition(" ")
        server.ask("HSET", keys + "present", holder, "%d %s" % (int(till) - back, run))
    for member in server.ask("ZRANGE", keys + "absent", 0, -1):
        server.ask("ZINCRBY", keys + "absent", -back, member)
    for holder in server.ask("HKEYS", keys + "applications"):
        at, _, rest = server.ask("HGET", keys + "applications", holder).partition("\n")
        server.ask("HSET", keys + "applications", holder, "%d\n%s" % (int(at) - seconds, rest))
    for name in server.ask("KEYS", keys + "work:*"):
        fence, till, rest = server.ask("GET", name).split(" ", 2)
        server.ask("SET", name, "%s %d %s" % (fence, max(0, int(till) - back), rest))
    for name in server.ask("KEYS", keys + "wants:*"):
        for holder in server.ask("HKEYS", name):
            server.ask("HINCRBY", name, holder, -back)
    for run in server.ask("ZRANGE", keys + "runs", 0, -1):
        server.ask("ZINCRBY", keys + "runs", -back, run)
    for claim in server.ask("KEYS", keys + "claim:*"):
        server.ask("PEXPIRE", claim, int(server.ask("PTTL", claim)) - back)
    for holder in server.ask("HKEYS", keys + "reports"):
        at, _, figures = server.ask("HGET", keys + "reports", holder).partition(" ")
        server.ask("HSET", keys + "reports", holder, "%d %s" % (int(at) - seconds, figures))


def make_rows_older(server, url, seconds):
    """The same for PostgreSQL: put all times in the tables of a schema back."""
    schema = url.partition("?schema=")[2]
    columns = server.ask(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = %s "
        "AND data_type = 'timestamp with time zone' AND table_name NOT IN ('state', 'alive')",
        schema,
    )
    for table, column in columns:
        server.ask(f"UPDATE {schema}.{table} SET {column} = {column} - interval '1 second' * %s", seconds)


@pytest.fixture(params=ENGINES)
def make(request):
    """make(seconds=…, events=…): open a broker of each engine.

    The engine's fixture is resolved lazily, so that a missing server skips only its own tests.
    """
    return request.getfixturevalue(request.param)


@pytest.fixture
def broker(make):
    return make()


@pytest.fixture
def recorder():
    return Recorder()
