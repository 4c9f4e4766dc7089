"""Brokers for the tests: any engine by its name, opened when a test asks and closed after it."""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from tests.brokers.ear import Ear

ENGINES = ("memory", "sqlite", "redis")

#: Those that several processes share.
SHARED = ("sqlite", "redis")

#: Those that deliver from their history, not beside it.
TAILING = ("memory", "sqlite")


def pretend_other_host(broker):
    """Let all others take a broker's process for one of another host: whether it lives is not known here."""
    broker.process_name = "another-host/1/abcdefgh"
    for part in (broker.history, broker.leases, broker.presence, broker.reports):
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


@pytest.fixture(params=SHARED)
def make_shared(request):
    """As `make`, of the engines that processes share; `shared_url` is where."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def shared_url(make_shared, request):
    return request.getfixturevalue("%s_url" % request.node.callspec.params["make_shared"])


@pytest.fixture(params=TAILING)
def make_tailing(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def travel(monkeypatch, request):
    """travel(broker, seconds): all clocks go on at once, the server's too."""

    def go(broker, seconds):
        if type(broker).__name__ == "RedisBroker":
            age(request.getfixturevalue("shared_redis"), request.getfixturevalue("redis_url"), seconds)
        for name in ("time", "monotonic"):
            now = getattr(time, name)
            monkeypatch.setattr(time, name, lambda now=now: now() + seconds)

    return go


def age(server, url, seconds):
    """Make all that is kept older: the server's clock is not ours."""
    keys = "{%s}:" % (url.partition("?prefix=")[2] or "ssemux")
    back = int(seconds * 1000)
    server.ask("HINCRBY", keys + "life", "at", -back)
    for index, mark in enumerate(server.ask("LRANGE", keys + "clock", 0, -1)):
        at, sequence = mark.split()
        server.ask("LSET", keys + "clock", index, "%d %s" % (int(at) - back, sequence))
    for holder in server.ask("HKEYS", keys + "present"):
        till, _, run = server.ask("HGET", keys + "present", holder).partition(" ")
        server.ask("HSET", keys + "present", holder, "%d %s" % (int(till) - back, run))
    for holder in server.ask("HKEYS", keys + "applications"):
        at, _, rest = server.ask("HGET", keys + "applications", holder).partition("\n")
        server.ask("HSET", keys + "applications", holder, "%d\n%s" % (int(at) - seconds, rest))
    for claim in server.ask("KEYS", keys + "claim:*"):
        server.ask("PEXPIRE", claim, int(server.ask("PTTL", claim)) - back)
    for holder in server.ask("HKEYS", keys + "reports"):
        at, _, figures = server.ask("HGET", keys + "reports", holder).partition(" ")
        server.ask("HSET", keys + "reports", holder, "%d %s" % (int(at) - seconds, figures))


@pytest.fixture(params=ENGINES)
def make(request):
    """make(seconds=…, events=…): a broker of the engine; lazily, so that one missing server skips only its own."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def broker(make):
    return make()


@pytest.fixture
def ear():
    return Ear()
