"""Brokers for the tests: any engine by its name, opened when a test asks and closed after it."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import History, open_broker
from tests.brokers.ear import Ear

ENGINES = ("memory", "sqlite")


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
        broker = open_broker("memory:", History(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def sqlite(opened, sqlite_url):
    def make(**history):
        broker = open_broker(sqlite_url, History(**history))
        opened(broker)
        return broker

    return make


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
