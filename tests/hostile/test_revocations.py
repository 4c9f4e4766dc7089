"""Revocation messages on every engine: malformed ones, and more of them than the application's history keeps.

Streams that they do not name go on. If it is not known whom they name, all clients come back and miss nothing.
"""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.hub.hub import Hub
from flask_ssemux.options import Options
from flask_ssemux.publishing.revocation import REVOCATION_CHANNEL, Revocation
from flask_ssemux.sse.encode import make_body
from flask_ssemux.worker.evict_oldest import OldestEviction
from flask_ssemux.worker.timer import Timer
from tests.harness.engines import ALL
from tests.harness.parser import Parser
from tests.harness.waiting import until

pytestmark = pytest.mark.engines(*ALL, within=ALL)


@pytest.fixture
def make(broker_url):
    """make(events): a worker's streams on that engine, whose application keeps so many events of a channel."""
    brokers = []

    def make(events):
        broker = open_broker(broker_url, HistoryLimits(events=events))
        brokers.append(broker)
        return Hub(broker, Timer(20.0), Options(history_events=events), lambda: time.sleep(0.0005))

    yield make
    for broker in brokers:
        broker.close()


class Client:
    """Reads a stream as a transport would."""

    def __init__(self, hub, user, last=()):
        seen = hub.count_revocations()
        self.stream = hub.open_stream(["news"], user, hub.parse_last_ids(last), revocations_seen=seen)
        self.parser = Parser()

    def data(self):
        for taken in iter(lambda: self.stream.take_bytes(time.monotonic()), b""):
            self.parser.feed(taken)
        return [event.data for event in self.parser.events if event.event == "message"]


def publish(hub, text):
    return str(hub.broker.history.append_event("news", make_body("news", text)))


def wait_for(client, text):
    until(lambda: text in client.data(), 5, lambda: "%r came; it ended: %s" % (client.data(), client.stream.reason))


@pytest.mark.parametrize("order", [b'{"user": [1]}', b"[" * 50_000, b"\xff\x00"], ids=["list", "deep", "no text"])
def test_a_malformed_revocation_costs_no_client_an_event(make, order):
    hub = make(events=1000)
    clients = [Client(hub, "user %d" % number) for number in range(5)]
    for client in clients:
        client.data()
    publish(hub, "before")
    hub.broker.history.append_event(REVOCATION_CHANNEL, order)
    publish(hub, "behind it")
    for client in clients:
        until(lambda client=client: client.data() is not None and client.stream.is_over, 5, "it goes on")
        assert client.stream.reason == "orders were lost"
    publish(hub, "while they were away")
    for client in clients:
        back = Client(hub, client.stream.user_id, [client.parser.last_event_id])
        wait_for(back, "while they were away")
        assert client.data() + back.data() == ["before", "behind it", "while they were away"]
        assert not back.stream.reason


def test_more_revocations_than_the_application_keeps_events_end_no_stream_of_others(make):
    hub = make(events=100)
    clients = [Client(hub, "user %d" % number) for number in range(20)]
    for client in clients:
        client.data()
    for number in range(300):
        hub.broker.history.append_event(
            REVOCATION_CHANNEL, Revocation("absent %d" % number, reason="disconnected").to_json()
        )
    hub.broker.history.append_event(REVOCATION_CHANNEL, Revocation("user 7", reason="disconnected").to_json())
    until(lambda: clients[7].stream.reason, 5, "the last order did not come")
    assert [client.stream.user_id for client in clients if client.stream.reason] == ["user 7"]
    assert clients[7].stream.reason == "disconnected"
    assert Client(hub, "user 7").stream.reason is None


def test_a_user_who_opens_streams_in_a_hurry_ends_no_stream_of_others(make):
    hub = make(events=20)
    eviction = OldestEviction(hub.broker, hub.revocations.end_stream)
    hub.revocations.evict_oldest = eviction.handle_eviction
    clients = [Client(hub, "user %d" % number) for number in range(30)]
    hasty = Client(hub, "hasty")
    for client in [hasty, *clients]:
        client.data()
    eviction.add_stream(hasty.stream)
    hub.broker.leases.take_user_slot("user:hasty", 1)
    for _ in range(300):
        eviction.request_eviction("hasty")
    hub.broker.history.append_event(REVOCATION_CHANNEL, Revocation("user 7", reason="disconnected").to_json())
    until(lambda: clients[7].stream.reason, 5, "the order did not come")
    assert [client.stream.user_id for client in clients if client.stream.reason] == ["user 7"]
    assert hasty.stream.reason
