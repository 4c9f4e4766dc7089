"""A small history affects no client that is connected: live events and revocations do not depend on what is kept."""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.hub.hub import Hub
from flask_ssemux.options import Options
from flask_ssemux.publishing.revocation import REVOCATION_CHANNEL, Revocation
from flask_ssemux.worker.timer import Timer
from tests.harness.engines import ALL
from tests.harness.waiting import until
from tests.unit.test_hub import Client, publish

SMALL = HistoryLimits(seconds=0.0, events=10, size=65536)


pytestmark = pytest.mark.engines(*ALL, within=ALL)


@pytest.fixture
def hub(broker_url):
    broker = open_broker(broker_url, SMALL)
    yield Hub(broker, Timer(20.0), Options(), lambda: time.sleep(0.001))
    broker.close()


def test_a_burst_that_is_longer_than_the_history_comes_whole(hub):
    client = Client(hub.open_stream(["a"], "1"))
    for burst in range(5):
        with hub._subscriptions._lock:  # nothing is delivered meanwhile
            for number in range(60):
                publish(hub, "a", "%d" % (burst * 60 + number))
        events = client.wait((burst + 1) * 60)
    assert [event.data for event in events] == ["%d" % number for number in range(300)]
    assert client.events("ssemux.reset") == []


def test_revocations_of_absent_users_end_no_stream(hub):
    streams = [hub.open_stream(["a"], "there") for _ in range(20)]
    with hub._subscriptions._lock:
        for number in range(300):
            hub.broker.history.append_event(REVOCATION_CHANNEL, Revocation(user="absent%d" % number).to_json())
    until(lambda: hub.count_revocations() == 300, 5, lambda: "%d came" % hub.count_revocations())
    assert len(hub) == len(streams) == 20
