"""The hub with a real memory broker: subscribe, replay, deliver, revoke. It needs no sockets."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import time
from types import SimpleNamespace

import pytest

from flask_ssemux import Publisher
from flask_ssemux.brokers import HistoryLimits, Record, SubscriptionStart, open_broker
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.brokers.memory.history import MemoryHistory
from flask_ssemux.errors import BrokerBehind, BrokerUnavailable
from flask_ssemux.hub import revocation_handler
from flask_ssemux.hub.fanout import SLICE
from flask_ssemux.hub.hub import Hub
from flask_ssemux.hub.replay import PAGE_EVENTS as PAGE
from flask_ssemux.hub.resume import NEW_CLIENT
from flask_ssemux.hub.stay_away import StayAway
from flask_ssemux.options import Options
from flask_ssemux.publishing.revocation import REVOCATION_CHANNEL, Revocation
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.sse.encode import make_body
from flask_ssemux.worker.evict_oldest import OldestEviction
from flask_ssemux.worker.timer import Timer
from tests.brokers.parts import memory_with_history
from tests.harness.parser import Parser
from tests.harness.waiting import until


class Client:
    """Takes a stream's bytes, as a transport does."""

    def __init__(self, stream):
        self.stream = stream
        self.parser = Parser()

    def events(self, name=None):
        while True:
            data = self.stream.take_bytes(time.monotonic())
            if not data:
                return [e for e in self.parser.events if name in (None, e.event)]
            self.parser.feed(data)

    def wait(self, count, name="message"):
        until(lambda: len(self.events(name)) >= count, 5, lambda: "of %d: %r" % (count, self.events()))
        return self.events(name)


@pytest.fixture
def make():
    brokers = []

    def make(broker=None, **options):
        broker = broker or MemoryBroker(HistoryLimits())
        brokers.append(broker)
        return Hub(broker, Timer(20.0), Options(**options), lambda: time.sleep(0.001))

    yield make
    for broker in brokers:
        broker.close()


def publish(hub, channel, data):
    return str(hub.broker.history.append_event(channel, make_body(channel, data)))


def sequence(event):
    return int(event.own_id.split("-")[1])


def test_what_comes_while_the_first_stream_opens_is_not_lost(make):
    """The broker begins to deliver before the hub knows after which sequence."""

    class Eager(MemoryHistory):
        def start_delivery(self, listener):
            start = super().start_delivery(listener)
            self.append_event("a", make_body("a", "early"))
            time.sleep(0.1)
            return start

    hub = make(memory_with_history(Eager))
    client = Client(hub.open_stream(["a"], None))
    publish(hub, "a", "late")
    until(lambda: client.events()[-1].data == "late", 5, lambda: str(client.events()))
    hello, *events = client.events()
    assert [sequence(event) for event in events] == list(range(sequence(hello) + 1, 3))


def test_the_hello_has_the_cursor_after_which_the_stream_begins(make):
    hub = make()
    cursor = publish(hub, "a", 1)
    hello = Client(hub.open_stream(["a"], None)).events()[0]
    assert (hello.event, hello.own_id) == ("ssemux.hello", cursor)


def test_a_client_with_nothing_to_replay_moves_on_to_the_head(make):
    hub = make()
    seen = publish(hub, "a", 1)
    head = publish(hub, "b", 2)
    hello = Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen]))).wait(1, "ssemux.hello")[0]
    assert hello.own_id in (seen, head)
    until(lambda: hub._subscriptions.position == 2, 5, "not delivered")
    assert Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen]))).events()[0].own_id == head


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_no_event_is_lost_or_repeated_between_two_pages_of_a_replay(make, count):
    hub = make()
    seen = publish(hub, "a", "seen")
    for number in range(count):
        publish(hub, "a", number)
        publish(hub, "b", "other")
    client = Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen])))
    live = publish(hub, "a", "live")
    events = client.wait(count + 1)
    assert [event.data for event in events] == [str(number) for number in range(count)] + ["live"]
    assert events[-1].own_id == live


def test_the_cursor_of_a_worker_that_is_ahead_is_accepted(make):
    """This worker has yet to deliver what the client saw elsewhere: the client gets no reset, and no event twice."""
    hub = make()
    hub.open_stream(["a"], None)
    first = publish(hub, "a", 1)
    hub._subscriptions.position = 0  # as if its delivery were still under way
    client = Client(hub.open_stream(["a"], None, hub.parse_last_ids([first])))
    assert [event.event for event in client.events()] == ["ssemux.hello"]
    assert client.stream.last_sequence == 1


def test_a_new_channel_begins_after_what_was_published_before_even_if_that_is_delivered_later(make):
    """The snapshot contains those events already, and a new client must not get old events."""
    hub = make()
    hub.open_stream(["a", "b"], None)
    publish(hub, "a", 1)
    seen = publish(hub, "b", 2)
    hub._subscriptions.position = 0  # as if their delivery were still under way
    beginner = Client(hub.open_stream(["a"], None))
    hub._subscriptions.position = 0
    comer = Client(hub.open_stream(["a", "b"], None, hub.parse_last_ids([publish(hub, "b", 3)]), new_channels=["a"]))
    assert (beginner.stream.last_sequence, comer.stream.last_sequence) == (2, 3)
    assert seen.endswith("-2")


def test_a_channel_that_is_delivered_already_can_be_opened_while_the_broker_is_away(make):
    class Away(MemoryHistory):
        is_away = False

        def subscribe_channels(self, channels):
            if self.is_away:
                raise BrokerUnavailable("away")
            return super().subscribe_channels(channels)

    hub = make(memory_with_history(Away))
    hub.open_stream(["a"], None)
    publish(hub, "a", 1)
    until(lambda: hub._subscriptions.position == 1, 5, "delivered")
    hub.broker.history.is_away = True
    assert hub.open_stream(["a"], None).last_sequence == 1
    with pytest.raises(BrokerUnavailable):
        hub.open_stream(["a", "b"], None)


def test_channels_whose_history_was_trimmed_are_reset_and_the_others_replayed(make):
    hub = make(MemoryBroker(HistoryLimits(events=5)))
    seen = publish(hub, "a", "seen")
    for number in range(20):
        publish(hub, "busy", number)
    publish(hub, "a", "missed")
    client = Client(hub.open_stream(["a", "busy"], None, hub.parse_last_ids([seen])))
    reset, hello, missed = client.wait(1, "message") and client.events()
    assert (reset.event, reset.data, reset.own_id) == ("ssemux.reset", '{"channels":["busy"],"reason":"history"}', None)
    assert (hello.event, hello.own_id) == ("ssemux.hello", seen)
    assert missed.data == "missed"


def test_a_snapshot_is_repeated_until_the_client_got_all_of_it(make):
    """The cursor comes with its last event, so a client that is cut off before has no cursor to resume from."""
    hub = make()
    publish(hub, "a", 1)
    events = Client(
        hub.open_stream(["a"], None, NEW_CLIENT, lambda channels: [make_body("a", 1, "s"), make_body("a", 2, "s")])
    ).events()
    assert [event.event for event in events] == ["ssemux.hello", "s", "s"]
    assert [event.own_id is None for event in events] == [True, True, False]


def test_a_snapshot_is_made_for_channels_that_are_new_or_lost_to_the_client(make):
    hub = make()
    asked = []

    def snapshots(channels):
        asked.append(list(channels))
        return []

    seen = publish(hub, "a", 1)
    hub.open_stream(["a", "b"], None, NEW_CLIENT, snapshots)
    hub.open_stream(["a", "b"], None, hub.parse_last_ids([seen]), snapshots)
    hub.open_stream(["a", "b"], None, hub.parse_last_ids(["not ours"]), snapshots)
    assert asked == [["a", "b"], ["a", "b"]]


def test_a_channel_that_is_new_to_a_client_with_a_cursor_begins_now_with_its_snapshot(make):
    hub = make()
    seen = publish(hub, "a", 1)
    publish(hub, "b", "before")
    publish(hub, "a", 2)

    def snapshots(names):
        return [make_body(name, "state", "s") for name in names]

    client = Client(hub.open_stream(["a", "b"], None, hub.parse_last_ids([seen]), snapshots, new_channels=["b"]))
    assert [(event.event, event.data) for event in client.events()[1:]] == [("s", "state"), ("message", "2")]
    publish(hub, "b", "after")
    assert client.wait(2)[1].data == "after"


def test_an_event_that_is_published_during_the_snapshot_follows_it(make):
    hub = make()

    def snapshots(channels):
        yield make_body("a", "state", "s")
        publish(hub, "a", "meanwhile")

    client = Client(hub.open_stream(["a"], None, NEW_CLIENT, snapshots))
    assert client.wait(1)[0].data == "meanwhile"
    assert [event.event for event in client.events()] == ["ssemux.hello", "s", "message"]


def test_a_snapshot_that_raises_leaves_no_stream_behind(make):
    hub = make()
    with pytest.raises(ZeroDivisionError):
        hub.open_stream(["a"], None, NEW_CLIENT, lambda channels: [1 // 0])
    assert len(hub) == 0 and not hub._subscriptions._channels


def test_a_new_epoch_resets_live_streams(make):
    hub = make()
    client = Client(hub.open_stream(["a"], None))
    client.events()
    hub._delivery._begin_epoch(Cursor("newepoch", 7))
    reset = client.events("ssemux.reset")[0]
    assert (reset.data, reset.own_id) == ('{"channels":["a"],"reason":"epoch"}', "newepoch-7")
    assert client.stream.last_sequence == 7


def test_a_new_epoch_during_a_replay_ends_the_stream(make):
    hub = make()
    stream = hub.open_stream(["a"], None)
    hub._delivery._begin_epoch(Cursor("newepoch", 7))
    assert stream.is_over


def test_an_error_of_one_stream_costs_the_others_no_event(make, caplog):
    hub = make()
    broken, healthy = hub.open_stream(["a"], None), Client(hub.open_stream(["a"], None))

    def fail():
        raise OSError("its wake-up failed")

    broken.take_bytes(0.0), broken.take_bytes(0.0)
    assert broken.park_transport(fail)
    for number in range(3):
        publish(hub, "a", number)
    assert [event.data for event in healthy.wait(3)] == ["0", "1", "2"]
    assert broken.is_over and "could not accept an event" in caplog.text


def test_a_stream_that_is_opened_during_a_drain_ends_too(make):
    hub = make()
    hub.drain_streams("bye", lambda: 1)
    stream = hub.open_stream(["a"], None)
    Client(stream).events()
    assert stream.is_over


def test_a_stream_that_is_opened_during_a_drain_comes_back_with_the_others(make):
    hub = make()
    hub.drain_streams("bye", lambda: 34567)
    client = Client(hub.open_stream(["a"], None))
    client.events()
    assert client.parser.retry == 34567


def test_events_trimmed_before_delivery_reset_their_channel(make):
    hub = make()
    one, other = Client(hub.open_stream(["a"], None)), Client(hub.open_stream(["b"], None))
    hub._delivery._announce_gaps(["a"], Cursor("x", 1))
    assert one.events("ssemux.reset") and not other.events("ssemux.reset")


def test_clients_are_told_of_an_outage_longer_than_a_heartbeat_and_of_its_end(make):
    hub = make(heartbeat=20.0)
    client = Client(hub.open_stream(["a"], None))
    hub._outage.begin("gone")
    hub._outage.end()
    assert [event.event for event in client.events()] == ["ssemux.hello"]
    hub._outage.begin("gone")
    hub._outage.run_due_work(time.monotonic())
    hub._outage.end()
    assert [event.event for event in client.events()[1:]] == ["ssemux.degraded", "ssemux.restored"]


def test_a_drain_ends_every_stream_each_with_a_retry_of_its_own(make):
    hub, numbers = make(), itertools.count(1000)
    clients = [Client(hub.open_stream(["a"], None)) for _ in range(40)]
    hub.drain_streams("bye", numbers.__next__)
    for client in clients:
        client.events()
    assert sorted(client.parser.retry for client in clients) == list(range(1000, 1040))
    assert all(client.stream.is_over for client in clients)


def test_closed_streams_leave_nothing_behind(make):
    hub = make()
    closed = []
    streams = [hub.open_stream(["a", "b%d" % n], None, on_closed=closed.append) for n in range(5)]
    for stream in streams:
        stream.mark_closed("left")
        stream.mark_closed("left")
    assert closed == streams
    assert not hub._subscriptions._streams and not hub._subscriptions._channels and not hub._subscriptions._subscribers


@pytest.mark.parametrize("seen", ["newlife0-5", "{epoch}-99"], ids=["of the new epoch", "ahead of this worker"])
def test_a_worker_that_has_not_been_told_of_a_new_epoch_opens_no_stream_for_its_cursors(make, seen):
    """The client has a cursor of another worker: a reset, and a hello of the old epoch, would be wrong."""
    hub = make()
    hub.open_stream(("a",), None)
    epoch, hub.broker.history._epoch = hub.broker.history._epoch, "newlife0"
    with pytest.raises(BrokerBehind, match="the history began anew, and this worker has yet to hear of it"):
        hub.open_stream(("a",), None, hub.parse_last_ids([seen.format(epoch=epoch)]))
    assert len(hub) == 1


def test_what_was_published_before_a_channel_was_subscribed_is_replayed_to_its_second_stream_too(make):
    """The broker delivers only subscribed channels, so the hub is at an old position; subscribing tells a newer one."""

    class Choosy(MemoryHistory):
        wanted = frozenset()

        def subscribe_channels(self, channels):
            self.wanted |= set(channels)
            return super().subscribe_channels(channels)

        def start_delivery(self, listener):
            def deliver(records):
                chosen = [record for record in records if record.channel in self.wanted]
                if chosen:
                    listener.deliver(chosen)
                self.passed = records[-1].sequence

            return super().start_delivery(listener._replace(deliver=deliver, deliver_now=lambda record: False))

    hub = make(memory_with_history(Choosy))
    first = hub.open_stream(["a"], None)
    seen = publish(hub, "a", 1)
    Client(first).wait(1)
    missed = publish(hub, "b", 2)
    until(lambda: hub.broker.history.passed == 2, 5, "it was not passed by")
    for _ in range(2):
        hello, *events = Client(hub.open_stream(["b"], None, hub.parse_last_ids([seen]))).events()
        assert [event.own_id for event in events] == [missed], hello


def test_a_position_of_the_epoch_before_is_not_used_in_the_next(make):
    """The epoch ends while a channel is being subscribed."""

    class Renewing(MemoryHistory):
        def start_delivery(self, listener):
            self.listener = listener
            return super().start_delivery(listener)

        def subscribe_channels(self, channels):
            if self.listener and "b" in channels:
                renewed, self.listener = self.listener.begin_epoch, None
                renewed(Cursor("bbbbbbbb", 0))
                return SubscriptionStart(1000, [])
            return SubscriptionStart(0, [])

    hub = make(memory_with_history(Renewing))
    hub.open_stream(["a"], None)
    crossing = Client(hub.open_stream(["b"], None))
    later = Client(hub.open_stream(["b"], None))
    hub._delivery._deliver([Record(1, "b", make_body("b", 1))])
    for client in (crossing, later):
        assert [event.own_id for event in client.wait(1)] == ["bbbbbbbb-1"]


# -- revocations -------------------------------------------------------------


def revoke(hub, **named):
    return hub.broker.history.append_event(REVOCATION_CHANNEL, Revocation(**{"reason": "told", **named}).to_json())


def ends(client):
    """Return the events after the hello, and the last id, of a stream that has ended cleanly."""
    until(lambda: client.events() and client.stream.is_over, 5, lambda: "it is %s" % client.stream.state)
    return [event.event for event in client.events()][1:], client.parser.last_event_id


def wait_received(hub, count):
    until(lambda: hub.revocations.received == count, 5, "the revocation did not come")


@pytest.mark.parametrize(
    "named, ended",
    [
        ({"user": "7"}, ["7 in a", "7 alone"]),
        ({"channel": "a"}, ["7 in a", "8 in a"]),
        ({"user": "7", "channel": "a"}, ["7 in a"]),
        ({"user": "9"}, []),
        ({"channel": "b", "user": "8"}, []),
    ],
)
def test_a_revocation_ends_the_streams_that_are_meant(make, named, ended):
    hub = make()
    streams = {"7 in a": (["a", "user:7"], "7"), "7 alone": (["b"], "7"), "8 in a": (["a"], "8"), "any": (["b"], None)}
    clients = {name: Client(hub.open_stream(*asked)) for name, asked in streams.items()}
    for client in clients.values():
        client.events()
    revoke(hub, **named)
    wait_received(hub, 1)
    until(lambda: sorted(n for n, c in clients.items() if c.stream.reason) == sorted(ended), 5, "not those")
    for name in ended:
        assert clients[name].stream.reason == "told" and ends(clients[name])[0] == []


def test_what_was_published_before_a_revocation_arrives_and_what_comes_after_does_not(make):
    hub = make()
    client = Client(hub.open_stream(["a"], "7"))
    client.events()
    publish(hub, "a", "before")
    client.wait(1)
    revoke(hub, channel="a", stop=True)
    publish(hub, "a", "after")
    until(lambda: hub._subscriptions.position == 3, 5, "not delivered")
    assert ends(client) == (["message", "ssemux.stop"], "stop")


def test_what_waits_for_a_client_at_its_revocation_is_not_sent(make):
    hub = make()
    client = Client(hub.open_stream(["a"], "7"))
    client.events()
    publish(hub, "a", "secret")
    until(lambda: client.stream.queue_size[0] == 1, 5, "not delivered")
    revoke(hub, user="7")
    wait_received(hub, 1)
    until(lambda: client.stream.is_over, 5, "it goes on")
    assert client.events("message") == []


def test_a_revocation_that_comes_while_a_stream_is_opened_ends_it_too(make):
    """Its rules were asked before and may have allowed it; what they would answer now is not known."""
    hub = make()
    taken = hub.count_revocations()
    revoke(hub, user="7")
    wait_received(hub, taken + 1)
    assert hub.open_stream(["a"], "7", revocations_seen=taken).is_over
    assert not hub.open_stream(["a"], "8", revocations_seen=taken).is_over
    assert not hub.open_stream(["a"], "7", revocations_seen=hub.count_revocations()).is_over


def test_more_revocations_than_are_remembered_end_a_stream_that_was_opened_meanwhile(make, monkeypatch):
    monkeypatch.setattr(revocation_handler, "RECENT", 20)
    hub = make()
    taken = hub.count_revocations()
    for number in range(21):
        revoke(hub, user="other %d" % number)
    wait_received(hub, 21)
    assert hub.open_stream(["a"], "7", revocations_seen=taken).is_over
    assert not hub.open_stream(["a"], "7", revocations_seen=taken + 1).is_over


def test_many_revocations_for_the_same_users_end_no_stream_of_others_that_was_opened_meanwhile(make, monkeypatch):
    monkeypatch.setattr(revocation_handler, "RECENT", 20)
    hub = make()
    taken = hub.count_revocations()
    for number in range(100):
        revoke(hub, user="other %d" % (number % 20))
    wait_received(hub, 100)
    assert not hub.open_stream(["a"], "7", revocations_seen=taken).is_over
    assert hub.open_stream(["a"], "other 3", revocations_seen=taken).is_over


@pytest.mark.parametrize("before", [True, False], ids=["before this worker listens", "live"])
def test_a_client_that_was_away_when_it_was_told_to_stay_away_is_refused(make, before):
    hub = make()
    seen = publish(hub, "a", "seen")
    if before:
        revoke(hub, user="7", stop=True)
        revoke(hub, channel="b", stop=True)
        revoke(hub, user="9")
    hub.count_revocations()
    if not before:
        revoke(hub, user="7", stop=True)
        revoke(hub, channel="b", stop=True)
        revoke(hub, user="9")
    wait_received(hub, 3)
    later = publish(hub, "a", "later")
    hub.revocations.stay_away = StayAway()  # which refuses clients without a cursor for a minute

    def asks(user_id, channels, last_ids):
        return hub.must_stay_away(user_id, channels, hub.parse_last_ids(last_ids))

    assert asks("7", ["a"], [seen]) and asks("8", ["a", "b"], [seen]) and asks(None, ["b"], [seen])
    assert not asks("8", ["a"], [seen]) and not asks("9", ["a"], [seen]) and not asks(None, ["a"], [seen])
    for fresh in ([], [later], ["other-1"], ["garbage"]):
        assert not asks("7", ["b"], fresh)


def test_clients_that_must_stay_away_are_bounded_but_not_by_the_applications_history(make, monkeypatch):
    monkeypatch.setattr(revocation_handler, "STOPS", 3)
    hub = make(MemoryBroker(HistoryLimits(events=1)), history_events=1)
    seen = publish(hub, "a", "seen")
    hub.count_revocations()
    for number in range(4):
        revoke(hub, user=str(number), stop=True)
        wait_received(hub, number + 1)
    assert [hub.must_stay_away(str(number), [], hub.parse_last_ids([seen])) for number in range(4)] == [
        False,
        True,
        True,
        True,
    ]


#: Revocation messages that no version sends. Once, most of them raised no error, or lost the rest of their batch.
MALFORMED = [
    b"[]",
    b"{",
    b'{"user": [1]}',
    b'{"user": 7}',
    b'{"channel": {"a": 1}}',
    b'{"user": "7", "reason": 5}',
    b'{"user": "7", "holder": []}',
    b"[" * 100_000,
    b"\xff",
]


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: "%.20r" % body)
def test_a_malformed_revocation_may_be_for_any_client_and_costs_no_event(make, caplog, body):
    hub = make()
    clients = [Client(hub.open_stream(["a"], user)) for user in ("7", None)]
    for client in clients:
        client.events()
    hub.broker.history.append_event(REVOCATION_CHANNEL, body)
    seen = publish(hub, "a", "in the same batch")
    for client in clients:
        assert ends(client) == ([], client.parser.last_event_id)
        assert client.stream.reason == "orders were lost"
    back = Client(hub.open_stream(["a"], "7", hub.parse_last_ids([clients[0].parser.last_event_id])))
    assert [event.own_id for event in back.wait(1)] == [seen]
    publish(hub, "a", "live")
    assert back.wait(2)[-1].data == "live" and not back.stream.reason
    assert "a revocation message failed, so all streams end" in caplog.text


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: "%.20r" % body)
def test_an_old_malformed_revocation_keeps_no_worker_from_starting(make, body):
    broker = MemoryBroker(HistoryLimits())
    broker.history.append_event(REVOCATION_CHANNEL, body)
    hub = make(broker)
    revoke(hub, user="8", stop=True)
    assert not hub.open_stream(["a"], "7").is_over and hub.revocations.received == 1


# -- errors while something is delivered ----------------------------------------


def test_an_event_that_cannot_be_delivered_is_a_gap_of_which_its_clients_are_told(make, caplog):
    """No client misses another event of its batch."""
    hub = make()
    reads, others = Client(hub.open_stream(["a"], "7")), Client(hub.open_stream(["b"], "7"))
    broker = hub.broker
    with broker._store.changed:  # one batch
        publish(hub, "a", "before")
        broker.history.append_event("a", "no bytes")  # no frame can be made of it
        publish(hub, "a", "after")
        publish(hub, "b", "after")
    assert [event.data for event in reads.wait(2)] == ["before", "after"]
    assert [event.event for event in reads.events()][-3:] == ["message", "ssemux.reset", "message"]
    assert json.loads(reads.events("ssemux.reset")[0].data) == {"channels": ["a"], "reason": "history"}
    assert [event.data for event in others.wait(1)] == ["after"] and not others.events("ssemux.reset")
    [line] = [line for line in caplog.records if line.exc_info]
    assert "an event could not be delivered" in line.getMessage()


def test_if_a_slice_cannot_be_handed_out_its_streams_end_and_their_clients_replay_the_event(make):
    hub = make()
    client = Client(hub.open_stream(["a"], "7"))
    client.events()
    errors = [OSError("control cannot be yielded")]
    hub._fan_out._yield_control = lambda: errors and raises(errors.pop())
    hub._fan_out._max_deliveries = 0
    hub._fan_out.try_begin = lambda count, size: False  # the broker's thread hands it out
    seen = publish(hub, "a", "lost at first")
    until(lambda: client.stream.is_over, 5, "it goes on without its event")
    back = Client(hub.open_stream(["a"], "7", hub.parse_last_ids([client.parser.last_event_id])))
    assert [event.own_id for event in back.wait(1)] == [seen]


@pytest.mark.parametrize("many", [1, SLICE + 1])
def test_a_stream_that_can_neither_be_woken_nor_ended_costs_no_other_an_event(make, many, monkeypatch):
    """Its wake-up raises an error, and so does its end."""
    hub = make()
    broken = hub.open_stream(["a"], "7")
    clients = [Client(hub.open_stream(["a"], "7")) for _ in range(many)]
    for client in [Client(broken)] + clients:
        client.events()
    broken.park_transport(lambda: raises(OSError("it cannot be woken")))
    broken.connection = SimpleNamespace(sever=lambda: raises(OSError("it cannot be severed")))
    publish(hub, "a", "first")
    publish(hub, "a", "second")
    for client in clients:
        assert [event.data for event in client.wait(2)] == ["first", "second"]
    assert broken.is_over


def test_if_clients_cannot_be_told_of_a_gap_all_streams_end(make, monkeypatch):
    hub = make()
    client = Client(hub.open_stream(["a"], "7"))
    client.events()
    monkeypatch.setattr(hub._fan_out, "send_frame", lambda *_: raises(OSError("nothing can be sent")))
    hub._delivery._survive(hub._delivery._announce_gaps, ["a"], Cursor(hub.epoch, 1))
    assert client.stream.is_over


def raises(error):
    raise error


def test_a_revocation_comes_after_what_was_published_before_it_however_many_streams_there_are(make):
    clients, reading = [], threading.Lock()

    def yield_control():  # then all transports take what waits
        time.sleep(0.001)
        with reading:
            for client in clients:
                client.events()

    hub = Hub(make().broker, Timer(20.0), Options(), yield_control)
    clients += [Client(hub.open_stream(["a"], "7")) for _ in range(3 * SLICE)]
    publish(hub, "a", "before")
    revoke(hub, user="7", stop=True)
    until(lambda: all(client.stream.reason for client in clients), 5, "the revocation did not come")
    assert [[e.data for e in client.events("message")] for client in clients] == [["before"]] * len(clients)


def test_a_revocation_with_which_a_new_epoch_begins_is_applied(make, tmp_path):
    url = "sqlite:///%s" % (tmp_path / "ssemux.sqlite3")
    hub = make(open_broker(url, HistoryLimits()))
    ended, stays = Client(hub.open_stream(["a"], "7")), Client(hub.open_stream(["a"], "8"))
    assert ended.events() and stays.events()
    for file in tmp_path.glob("ssemux.sqlite3*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    with Publisher(url) as publisher:
        publisher.disconnect(7)
    until(lambda: ended.stream.reason, 5, "the revocation was lost")
    until(lambda: stays.events("ssemux.reset"), 5, "the reset was lost")
    assert (ended.stream.reason, bool(stays.stream.reason)) == ("disconnected", False)


def test_lost_revocations_end_all_streams(make):
    """They were trimmed before this worker received them, so it is not known whom they named."""
    hub = make()
    clients = [Client(hub.open_stream(["a"], user)) for user in ("7", None)]
    for client in clients:
        client.events()
    hub._delivery._announce_gaps([REVOCATION_CHANNEL], Cursor(hub.epoch, 1))
    assert [client.stream.reason for client in clients] == ["orders were lost"] * 2


def test_the_oldest_stream_makes_room_and_its_client_must_not_come_back(make):
    hub = make()
    eviction = OldestEviction(hub.broker, hub.revocations.end_stream)
    hub.revocations.evict_oldest = eviction.handle_eviction
    clients = [Client(hub.open_stream(["a"], user, on_closed=eviction.remove_stream)) for user in ("7", "8", "7", "7")]
    for client in clients:
        client.events()
        hub.broker.leases.take_user_slot("user:" + client.stream.user_id, 9)
        eviction.add_stream(client.stream)
    seen = publish(hub, "a", "seen")
    for count, oldest in ((1, 0), (2, 2)):
        eviction.request_eviction("7")
        wait_received(hub, count)
        until(lambda oldest=oldest: clients[oldest].stream.reason, 5, "it goes on")
        assert ends(clients[oldest]) == (["message", "ssemux.replaced"], "stop")
    clients[3].stream.mark_closed("its client left")
    eviction.request_eviction("7")
    wait_received(hub, 3)
    assert not clients[1].stream.reason
    assert not hub.must_stay_away("7", ["a"], hub.parse_last_ids([seen]))  # the user's other streams are not affected


def test_a_stream_that_is_being_opened_makes_room_when_it_is_open(make):
    """Its snapshots may take a while; the stream that needs its user slot waited in vain, and was refused."""
    hub = make()
    eviction = OldestEviction(hub.broker, hub.revocations.end_stream)
    hub.revocations.evict_oldest = eviction.handle_eviction
    hub.broker.leases.take_user_slot("user:7", 1)
    hub.open_stream(["a"], "8")  # the first stream starts the delivery

    def open_next(opening):
        client = Client(hub.open_stream(["a"], "7", on_closed=eviction.remove_stream))
        client.events()
        eviction.add_stream(client.stream, opening)
        return client

    failed, slow = eviction.begin_opening("7"), eviction.begin_opening("7")
    eviction.end_opening("7", failed)
    eviction.request_eviction("7", "x 1")
    wait_received(hub, 1)
    assert ends(open_next(slow)) == (["ssemux.replaced"], "stop")
    served = eviction.begin_opening("7", "x 2")
    eviction.request_eviction("7", "x 2")
    wait_received(hub, 2)
    client = open_next(served)
    eviction.request_eviction("7", "x 2")
    wait_received(hub, 3)
    assert not client.stream.reason, "a stream is not ended by its own request, which came late"
    eviction.request_eviction("7", "x 3")
    wait_received(hub, 4)
    assert ends(client) == (["ssemux.replaced"], "stop")
    assert (eviction._openings, eviction._streams, eviction._requests) == ({}, {}, {})


def test_a_message_to_make_room_is_for_one_process(make):
    hub = make()
    eviction = OldestEviction(hub.broker, hub.revocations.end_stream)
    hub.revocations.evict_oldest = eviction.handle_eviction
    stream = hub.open_stream(["a"], "7")
    eviction.add_stream(stream)
    revoke(hub, user="7", stop=True, holder="elsewhere/1/abcdefgh")
    wait_received(hub, 1)
    assert not stream.reason


# -- replays within bounds --------------------------------------------------------


def returning(make, events, size=1000, **options):
    """Return a hub with a history of one channel, and the cursor before that history."""
    hub = make(**options)
    seen = publish(hub, "a", "seen")
    for number in range(events):
        publish(hub, "a", "%d %s" % (number, "x" * size))
    return hub, seen


def test_events_that_are_trimmed_during_a_replay_are_reset(make):
    """Pages are read when the client takes them; a page whose events are gone is a reset."""
    hub, seen = returning(make, 300)
    client = Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen])))
    first = client.stream.take_bytes(0.0)
    assert 0 < first.count(b"\nid: ") < 300
    hub.replay.begin_epoch(hub.epoch)  # what is shared was forgotten meanwhile
    hub.broker.history._limits = HistoryLimits(events=1)
    for _ in range(1000):
        publish(hub, "a", "later")
    events = client.wait(1, "ssemux.reset")
    assert [event.data for event in events] == ['{"channels":["a"],"reason":"history"}']
    assert not client.stream.is_over


def test_a_client_without_room_for_its_replay_gets_its_hello_and_heartbeats_and_then_its_page(make):
    hub, seen = returning(make, 1000, heartbeat=0.1, client_timeout=1.0, replay_bytes=1024 * 1024)
    holder = hub.replay.allowance.request(10**6, lambda: None)
    client = Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen])))
    opening = client.stream.take_bytes(0.0)
    assert b"ssemux.hello" in opening and b"id: %s\n" % seen.encode() in opening and opening.count(b"\nid: ") == 1
    assert client.stream.take_bytes(0.0) == b": heartbeat\n\n" == client.stream.take_bytes(0.0)
    holder.give_back()
    assert len(client.events("message")) == 1000
    assert hub.replay.allowance.held == 0


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_a_stream_that_ends_gives_back_its_share(make, drawn):
    hub, seen = returning(make, 1000)
    stream = hub.open_stream(["a"], None, hub.parse_last_ids([seen]))
    for _ in range(drawn):
        stream.take_bytes(0.0)
    assert hub.replay.allowance.held > 0
    stream.mark_closed("left")
    assert hub.replay.allowance.held == 0


def test_an_opening_that_fails_gives_back_its_share(make):
    hub, seen = returning(make, 10)
    with pytest.raises(ZeroDivisionError):
        hub.open_stream(["a", "b"], None, hub.parse_last_ids([seen]), lambda names: [1 // 0], new_channels=["b"])
    assert hub.replay.allowance.held == 0


def test_a_page_is_small_and_counts_twice(make):
    hub, seen = returning(make, 1000)
    stream = hub.open_stream(["a"], None, hub.parse_last_ids([seen]))
    page = stream.take_bytes(0.0)
    assert len(page) < 70_000 and hub.replay.allowance.held <= 2 * len(page)
