"""The mux over a real memory broker: joining, replaying, renewing. Sockets are not needed for it."""

from __future__ import annotations

import json
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
from flask_ssemux.sse.encode import body
from flask_ssemux.worker.evict_oldest import OldestEviction
from flask_ssemux.worker.timer import Timer
from tests.brokers.parts import memory_with_history
from tests.harness.parser import Parser
from tests.harness.waiting import until


class Client:
    """Takes what a stream gives, as a transport would."""

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


def publish(mux, channel, data):
    return str(mux.broker.history.append_event(channel, body(channel, data)))


def sequence(event):
    return int(event.own_id.split("-")[1])


def test_what_comes_while_the_first_stream_opens_is_not_lost(make):
    """The broker delivers from the moment that it listens, which is before its place is known here."""

    class Eager(MemoryHistory):
        def start_delivery(self, listener):
            start = super().start_delivery(listener)
            self.append_event("a", body("a", "early"))
            time.sleep(0.1)
            return start

    mux = make(memory_with_history(Eager))
    client = Client(mux.open_stream(["a"], None))
    publish(mux, "a", "late")
    until(lambda: client.events()[-1].data == "late", 5, lambda: str(client.events()))
    hello, *events = client.events()
    assert [sequence(event) for event in events] == list(range(sequence(hello) + 1, 3))


def test_hello_tells_where_the_stream_begins(make):
    mux = make()
    cursor = publish(mux, "a", 1)
    hello = Client(mux.open_stream(["a"], None)).events()[0]
    assert (hello.event, hello.own_id) == ("ssemux.hello", cursor)


def test_a_client_with_nothing_to_replay_moves_on_to_the_head(make):
    mux = make()
    seen = publish(mux, "a", 1)
    head = publish(mux, "b", 2)
    hello = Client(mux.open_stream(["a"], None, mux.parse_last_ids([seen]))).wait(1, "ssemux.hello")[0]
    assert hello.own_id in (seen, head)
    until(lambda: mux._subscriptions.position == 2, 5, "not delivered")
    assert Client(mux.open_stream(["a"], None, mux.parse_last_ids([seen]))).events()[0].own_id == head


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_replay_has_no_seams_between_its_pages(make, count):
    mux = make()
    seen = publish(mux, "a", "seen")
    for number in range(count):
        publish(mux, "a", number)
        publish(mux, "b", "other")
    client = Client(mux.open_stream(["a"], None, mux.parse_last_ids([seen])))
    live = publish(mux, "a", "live")
    events = client.wait(count + 1)
    assert [event.data for event in events] == [str(number) for number in range(count)] + ["live"]
    assert events[-1].own_id == live


def test_a_cursor_from_a_worker_that_is_ahead_is_believed(make):
    """This worker has not delivered yet what its client saw elsewhere: no reset, and no second time."""
    mux = make()
    mux.open_stream(["a"], None)
    first = publish(mux, "a", 1)
    mux._subscriptions.position = 0  # as if its delivery were still under way
    client = Client(mux.open_stream(["a"], None, mux.parse_last_ids([first])))
    assert [event.event for event in client.events()] == ["ssemux.hello"]
    assert client.stream.last_sequence == 1


def test_a_channel_begins_after_what_was_published_before_though_it_is_delivered_later(make):
    """Its snapshot has that already; and who joins it is not to hear of the past."""
    mux = make()
    mux.open_stream(["a", "b"], None)
    publish(mux, "a", 1)
    seen = publish(mux, "b", 2)
    mux._subscriptions.position = 0  # as if their delivery were still under way
    beginner = Client(mux.open_stream(["a"], None))
    mux._subscriptions.position = 0
    comer = Client(mux.open_stream(["a", "b"], None, mux.parse_last_ids([publish(mux, "b", 3)]), new=["a"]))
    assert (beginner.stream.last_sequence, comer.stream.last_sequence) == (2, 3)
    assert seen.endswith("-2")


def test_a_channel_begins_with_what_is_known_here_while_the_broker_is_away(make):
    class Away(MemoryHistory):
        is_away = False

        def subscribe_channels(self, channels):
            if self.is_away:
                raise BrokerUnavailable("away")
            return super().subscribe_channels(channels)

    mux = make(memory_with_history(Away))
    mux.open_stream(["a"], None)
    publish(mux, "a", 1)
    until(lambda: mux._subscriptions.position == 1, 5, "delivered")
    mux.broker.history.is_away = True
    assert mux.open_stream(["a"], None).last_sequence == 1
    with pytest.raises(BrokerUnavailable):
        mux.open_stream(["a", "b"], None)


def test_history_that_was_trimmed_resets_those_channels_and_replays_the_others(make):
    mux = make(MemoryBroker(HistoryLimits(events=5)))
    seen = publish(mux, "a", "seen")
    for number in range(20):
        publish(mux, "busy", number)
    publish(mux, "a", "missed")
    client = Client(mux.open_stream(["a", "busy"], None, mux.parse_last_ids([seen])))
    reset, hello, missed = client.wait(1, "message") and client.events()
    assert (reset.event, reset.data, reset.own_id) == ("ssemux.reset", '{"channels":["busy"],"reason":"history"}', None)
    assert (hello.event, hello.own_id) == ("ssemux.hello", seen)
    assert missed.data == "missed"


def test_a_snapshot_is_repeated_until_it_was_whole(make):
    """The cursor comes with the last of its events, so a client that is cut off before has none to resume from."""
    mux = make()
    publish(mux, "a", 1)
    events = Client(
        mux.open_stream(["a"], None, NEW_CLIENT, lambda channels: [body("a", 1, "s"), body("a", 2, "s")])
    ).events()
    assert [event.event for event in events] == ["ssemux.hello", "s", "s"]
    assert [event.own_id is None for event in events] == [True, True, False]


def test_a_snapshot_is_for_what_is_new_or_lost_to_the_client(make):
    mux = make()
    asked = []

    def snapshots(channels):
        asked.append(list(channels))
        return []

    seen = publish(mux, "a", 1)
    mux.open_stream(["a", "b"], None, NEW_CLIENT, snapshots)
    mux.open_stream(["a", "b"], None, mux.parse_last_ids([seen]), snapshots)
    mux.open_stream(["a", "b"], None, mux.parse_last_ids(["not ours"]), snapshots)
    assert asked == [["a", "b"], ["a", "b"]]


def test_a_channel_that_is_new_to_a_client_which_has_seen_others_begins_now_with_its_snapshot(make):
    mux = make()
    seen = publish(mux, "a", 1)
    publish(mux, "b", "before")
    publish(mux, "a", 2)

    def snapshots(names):
        return [body(name, "state", "s") for name in names]

    client = Client(mux.open_stream(["a", "b"], None, mux.parse_last_ids([seen]), snapshots, new=["b"]))
    assert [(event.event, event.data) for event in client.events()[1:]] == [("s", "state"), ("message", "2")]
    publish(mux, "b", "after")
    assert client.wait(2)[1].data == "after"


def test_nothing_falls_between_snapshot_and_live(make):
    mux = make()

    def snapshots(channels):
        yield body("a", "state", "s")
        publish(mux, "a", "meanwhile")

    client = Client(mux.open_stream(["a"], None, NEW_CLIENT, snapshots))
    assert client.wait(1)[0].data == "meanwhile"
    assert [event.event for event in client.events()] == ["ssemux.hello", "s", "message"]


def test_a_snapshot_that_raises_leaves_no_stream_behind(make):
    mux = make()
    with pytest.raises(ZeroDivisionError):
        mux.open_stream(["a"], None, NEW_CLIENT, lambda channels: [1 // 0])
    assert len(mux) == 0 and not mux._subscriptions._channels


def test_a_new_life_of_the_history_resets_live_streams(make):
    mux = make()
    client = Client(mux.open_stream(["a"], None))
    client.events()
    mux._delivery._begin_epoch(Cursor("newepoch", 7))
    reset = client.events("ssemux.reset")[0]
    assert (reset.data, reset.own_id) == ('{"channels":["a"],"reason":"epoch"}', "newepoch-7")
    assert client.stream.last_sequence == 7


def test_a_new_life_during_a_replay_ends_the_stream(make):
    mux = make()
    stream = mux.open_stream(["a"], None)
    mux._delivery._begin_epoch(Cursor("newepoch", 7))
    assert stream.is_over


def test_a_stream_that_fails_costs_the_others_nothing(make, caplog):
    mux = make()
    broken, well = mux.open_stream(["a"], None), Client(mux.open_stream(["a"], None))

    def fail():
        raise OSError("its wake-up failed")

    broken.take_bytes(0.0), broken.take_bytes(0.0)
    assert broken.park_transport(fail)
    for number in range(3):
        publish(mux, "a", number)
    assert [event.data for event in well.wait(3)] == ["0", "1", "2"]
    assert broken.is_over and "could not accept an event" in caplog.text


def test_a_stream_that_opens_during_a_drain_ends_too(make):
    mux = make()
    mux.drain_streams("bye")
    stream = mux.open_stream(["a"], None)
    Client(stream).events()
    assert stream.is_over


def test_events_trimmed_before_delivery_reset_their_channel(make):
    mux = make()
    one, other = Client(mux.open_stream(["a"], None)), Client(mux.open_stream(["b"], None))
    mux._delivery._announce_gaps(["a"], Cursor("x", 1))
    assert one.events("ssemux.reset") and not other.events("ssemux.reset")


def test_an_outage_longer_than_a_heartbeat_is_told_and_so_is_its_end(make):
    mux = make(heartbeat=20.0)
    client = Client(mux.open_stream(["a"], None))
    mux._outage.begin("gone")
    mux._outage.end()
    assert [event.event for event in client.events()] == ["ssemux.hello"]
    mux._outage.begin("gone")
    mux._outage.run_due_work(time.monotonic())
    mux._outage.end()
    assert [event.event for event in client.events()[1:]] == ["ssemux.degraded", "ssemux.restored"]


def test_a_drain_ends_every_stream_with_a_spread_retry(make):
    mux = make(retry=1000)
    clients = [Client(mux.open_stream(["a"], None)) for _ in range(40)]
    mux.drain_streams("bye")
    for client in clients:
        client.events()
    retries = [client.parser.frames[-1].retry for client in clients]
    assert all(500 <= retry <= 1500 for retry in retries) and len(set(retries)) > 20
    assert all(client.stream.is_over for client in clients)


def test_closed_streams_leave_nothing_behind(make):
    mux = make()
    closed = []
    streams = [mux.open_stream(["a", "b%d" % n], None, on_closed=closed.append) for n in range(5)]
    for stream in streams:
        stream.mark_closed("left")
        stream.mark_closed("left")
    assert closed == streams
    assert not mux._subscriptions._streams and not mux._subscriptions._channels and not mux._subscriptions._readers


@pytest.mark.parametrize("seen", ["newlife0-5", "{epoch}-99"], ids=["of the new life", "ahead of this worker"])
def test_a_worker_that_has_yet_to_hear_of_a_new_life_does_not_guess(make, seen):
    """Another worker told the client of it; a reset, and a hello of the old life, would be lies."""
    mux = make()
    mux.open_stream(("a",), None)
    epoch, mux.broker.history._epoch = mux.broker.history._epoch, "newlife0"
    with pytest.raises(BrokerBehind, match="the history began anew, and this worker has yet to hear of it"):
        mux.open_stream(("a",), None, mux.parse_last_ids([seen.format(epoch=epoch)]))
    assert len(mux) == 1


def test_what_was_published_before_a_channel_was_wanted_is_replayed_to_its_second_reader_too(make):
    """A broker that delivers only what is wanted leaves the mux at an old place, where `want` tells a newer one."""

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

            return super().start_delivery(listener._replace(deliver=deliver))

    mux = make(memory_with_history(Choosy))
    first = mux.open_stream(["a"], None)
    seen = publish(mux, "a", 1)
    Client(first).wait(1)
    missed = publish(mux, "b", 2)
    until(lambda: mux.broker.history.passed == 2, 5, "it was not passed by")
    for _ in range(2):
        hello, *events = Client(mux.open_stream(["b"], None, mux.parse_last_ids([seen]))).events()
        assert [event.own_id for event in events] == [missed], hello


def test_a_place_of_the_life_before_is_none_in_the_next(make):
    """The life ends while a channel is asked for."""

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

    mux = make(memory_with_history(Renewing))
    mux.open_stream(["a"], None)
    crossing = Client(mux.open_stream(["b"], None))
    later = Client(mux.open_stream(["b"], None))
    mux._delivery._deliver([Record(1, "b", body("b", 1))])
    for client in (crossing, later):
        assert [event.own_id for event in client.wait(1)] == ["bbbbbbbb-1"]


# -- orders ------------------------------------------------------------------


def order(mux, **named):
    return mux.broker.history.append_event(REVOCATION_CHANNEL, Revocation(**{"reason": "told", **named}).to_json())


def ends(client):
    """The last frames of a stream that has ended cleanly."""
    until(lambda: client.events() and client.stream.is_over, 5, lambda: "it is %s" % client.stream.state)
    return [event.event for event in client.events()][1:], client.parser.last_event_id


def wait_taken(mux, count):
    until(lambda: mux.revocations.received == count, 5, "the order did not come")


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
def test_an_order_ends_the_streams_that_are_meant(make, named, ended):
    mux = make()
    streams = {"7 in a": (["a", "user:7"], "7"), "7 alone": (["b"], "7"), "8 in a": (["a"], "8"), "any": (["b"], None)}
    clients = {name: Client(mux.open_stream(*asked)) for name, asked in streams.items()}
    for client in clients.values():
        client.events()
    order(mux, **named)
    wait_taken(mux, 1)
    until(lambda: sorted(n for n, c in clients.items() if c.stream.reason) == sorted(ended), 5, "not those")
    for name in ended:
        assert clients[name].stream.reason == "told" and ends(clients[name])[0] == []


def test_what_came_before_an_order_arrives_and_what_comes_after_does_not(make):
    mux = make()
    client = Client(mux.open_stream(["a"], "7"))
    client.events()
    publish(mux, "a", "before")
    client.wait(1)
    order(mux, channel="a", stop=True)
    publish(mux, "a", "after")
    until(lambda: mux._subscriptions.position == 3, 5, "not delivered")
    assert ends(client) == (["message", "ssemux.stop"], "stop")


def test_who_has_not_taken_what_waits_may_not_go_on_reading_it(make):
    mux = make()
    client = Client(mux.open_stream(["a"], "7"))
    client.events()
    publish(mux, "a", "secret")
    until(lambda: client.stream.queue_size[0] == 1, 5, "not delivered")
    order(mux, user="7")
    wait_taken(mux, 1)
    until(lambda: client.stream.is_over, 5, "it goes on")
    assert client.events("message") == []


def test_an_order_that_comes_while_a_stream_is_opened_is_for_it_too(make):
    """Its rules were asked before, and may have said yes: what they would say now is not known."""
    mux = make()
    taken = mux.count_revocations()
    order(mux, user="7")
    wait_taken(mux, taken + 1)
    assert mux.open_stream(["a"], "7", revocations_seen=taken).is_over
    assert not mux.open_stream(["a"], "8", revocations_seen=taken).is_over
    assert not mux.open_stream(["a"], "7", revocations_seen=mux.count_revocations()).is_over


def test_more_orders_than_are_remembered_end_a_stream_that_was_opened_meanwhile(make, monkeypatch):
    monkeypatch.setattr(revocation_handler, "RECENT", 20)
    mux = make()
    taken = mux.count_revocations()
    for number in range(21):
        order(mux, user="other %d" % number)
    wait_taken(mux, 21)
    assert mux.open_stream(["a"], "7", revocations_seen=taken).is_over
    assert not mux.open_stream(["a"], "7", revocations_seen=taken + 1).is_over


def test_many_orders_for_the_same_users_end_no_stream_of_others_that_was_opened_meanwhile(make, monkeypatch):
    monkeypatch.setattr(revocation_handler, "RECENT", 20)
    mux = make()
    taken = mux.count_revocations()
    for number in range(100):
        order(mux, user="other %d" % (number % 20))
    wait_taken(mux, 100)
    assert not mux.open_stream(["a"], "7", revocations_seen=taken).is_over
    assert mux.open_stream(["a"], "other 3", revocations_seen=taken).is_over


@pytest.mark.parametrize("before", [True, False], ids=["before this worker listens", "live"])
def test_who_was_away_when_told_to_stay_away_hears_of_it(make, before):
    mux = make()
    seen = publish(mux, "a", "seen")
    if before:
        order(mux, user="7", stop=True)
        order(mux, channel="b", stop=True)
        order(mux, user="9")
    mux.count_revocations()
    if not before:
        order(mux, user="7", stop=True)
        order(mux, channel="b", stop=True)
        order(mux, user="9")
    wait_taken(mux, 3)
    later = publish(mux, "a", "later")
    mux.revocations.stay_away = StayAway()  # which refuses clients without a cursor for a minute

    def asks(user_id, channels, last_ids):
        return mux.must_stay_away(user_id, channels, mux.parse_last_ids(last_ids))

    assert asks("7", ["a"], [seen]) and asks("8", ["a", "b"], [seen]) and asks(None, ["b"], [seen])
    assert not asks("8", ["a"], [seen]) and not asks("9", ["a"], [seen]) and not asks(None, ["a"], [seen])
    for fresh in ([], [later], ["other-1"], ["garbage"]):
        assert not asks("7", ["b"], fresh)


def test_those_told_to_stay_away_are_bounded_but_not_by_the_applications_history(make, monkeypatch):
    monkeypatch.setattr(revocation_handler, "STOPS", 3)
    mux = make(MemoryBroker(HistoryLimits(events=1)), history_events=1)
    seen = publish(mux, "a", "seen")
    mux.count_revocations()
    for number in range(4):
        order(mux, user=str(number), stop=True)
        wait_taken(mux, number + 1)
    assert [mux.must_stay_away(str(number), [], mux.parse_last_ids([seen])) for number in range(4)] == [
        False,
        True,
        True,
        True,
    ]


#: Orders that no version makes; all but the first two were no error, or one that lost the rest of its batch.
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
def test_an_order_that_cannot_be_understood_may_be_for_anyone_and_costs_no_event(make, caplog, body):
    mux = make()
    clients = [Client(mux.open_stream(["a"], user)) for user in ("7", None)]
    for client in clients:
        client.events()
    mux.broker.history.append_event(REVOCATION_CHANNEL, body)
    seen = publish(mux, "a", "in the same batch")
    for client in clients:
        assert ends(client) == ([], client.parser.last_event_id)
        assert client.stream.reason == "orders were lost"
    back = Client(mux.open_stream(["a"], "7", mux.parse_last_ids([clients[0].parser.last_event_id])))
    assert [event.own_id for event in back.wait(1)] == [seen]
    publish(mux, "a", "live")
    assert back.wait(2)[-1].data == "live" and not back.stream.reason
    assert "a revocation message failed, so all streams end" in caplog.text


@pytest.mark.parametrize("body", MALFORMED, ids=lambda body: "%.20r" % body)
def test_an_old_order_that_cannot_be_understood_keeps_no_worker_from_starting(make, body):
    broker = MemoryBroker(HistoryLimits())
    broker.history.append_event(REVOCATION_CHANNEL, body)
    mux = make(broker)
    order(mux, user="8", stop=True)
    assert not mux.open_stream(["a"], "7").is_over and mux.revocations.received == 1


# -- errors while something is delivered ----------------------------------------


def test_an_event_that_cannot_be_delivered_is_a_gap_that_its_readers_hear_of(make, caplog):
    """And nobody misses anything else of its batch."""
    mux = make()
    reads, others = Client(mux.open_stream(["a"], "7")), Client(mux.open_stream(["b"], "7"))
    broker = mux.broker
    with broker._store.changed:  # one batch
        publish(mux, "a", "before")
        broker.history.append_event("a", "no bytes")  # whoever has it cannot make a frame of it
        publish(mux, "a", "after")
        publish(mux, "b", "after")
    assert [event.data for event in reads.wait(2)] == ["before", "after"]
    assert [event.event for event in reads.events()][-3:] == ["message", "ssemux.reset", "message"]
    assert json.loads(reads.events("ssemux.reset")[0].data) == {"channels": ["a"], "reason": "history"}
    assert [event.data for event in others.wait(1)] == ["after"] and not others.events("ssemux.reset")
    [line] = [line for line in caplog.records if line.exc_info]
    assert "an event could not be delivered" in line.getMessage()


def test_where_a_slice_cannot_be_handed_over_its_streams_end_and_read_the_event_when_they_come_back(make):
    mux = make()
    client = Client(mux.open_stream(["a"], "7"))
    client.events()
    breaths = [OSError("no breath")]
    mux._fan_out._yield_control = lambda: breaths and raises(breaths.pop())
    mux._fan_out._max_deliveries = 0
    seen = publish(mux, "a", "lost at first")
    until(lambda: client.stream.is_over, 5, "it goes on without its event")
    back = Client(mux.open_stream(["a"], "7", mux.parse_last_ids([client.parser.last_event_id])))
    assert [event.own_id for event in back.wait(1)] == [seen]


@pytest.mark.parametrize("many", [1, SLICE + 1])
def test_a_broken_stream_costs_no_other_its_event(make, many, monkeypatch):
    """Its wake-up raises, and so does its end."""
    mux = make()
    broken = mux.open_stream(["a"], "7")
    clients = [Client(mux.open_stream(["a"], "7")) for _ in range(many)]
    for client in [Client(broken)] + clients:
        client.events()
    broken.park_transport(lambda: raises(OSError("it cannot be woken")))
    broken.connection = SimpleNamespace(sever=lambda: raises(OSError("it cannot be severed")))
    publish(mux, "a", "first")
    publish(mux, "a", "second")
    for client in clients:
        assert [event.data for event in client.wait(2)] == ["first", "second"]
    assert broken.is_over


def test_where_a_gap_cannot_be_told_all_streams_end(make, monkeypatch):
    mux = make()
    client = Client(mux.open_stream(["a"], "7"))
    client.events()
    monkeypatch.setattr(mux._fan_out, "send_frame", lambda *_: raises(OSError("nothing can be told")))
    mux._delivery._survive(mux._delivery._announce_gaps, ["a"], Cursor(mux.epoch, 1))
    assert client.stream.is_over


def raises(error):
    raise error


def test_an_order_comes_after_what_was_published_before_it_however_many_read(make):
    clients, reading = [], threading.Lock()

    def breathe():  # then all transports take what waits
        time.sleep(0.001)
        with reading:
            for client in clients:
                client.events()

    mux = Hub(make().broker, Timer(20.0), Options(), breathe)
    clients += [Client(mux.open_stream(["a"], "7")) for _ in range(3 * SLICE)]
    publish(mux, "a", "before")
    order(mux, user="7", stop=True)
    until(lambda: all(client.stream.reason for client in clients), 5, "the order did not come")
    assert [[e.data for e in client.events("message")] for client in clients] == [["before"]] * len(clients)


def test_an_order_that_a_new_life_of_the_history_begins_with_is_carried_out(make, tmp_path):
    url = "sqlite:///%s" % (tmp_path / "ssemux.sqlite3")
    mux = make(open_broker(url, HistoryLimits()))
    ended, stays = Client(mux.open_stream(["a"], "7")), Client(mux.open_stream(["a"], "8"))
    assert ended.events() and stays.events()
    for file in tmp_path.iterdir():
        file.unlink()
    with Publisher(url) as publisher:
        publisher.disconnect(7)
    until(lambda: ended.stream.reason, 5, "the order was lost")
    until(lambda: stays.events("ssemux.reset"), 5, "the reset was lost")
    assert (ended.stream.reason, bool(stays.stream.reason)) == ("disconnected", False)


def test_orders_that_were_lost_end_all(make):
    """They were trimmed before this worker saw them: nobody knows whom they named."""
    mux = make()
    clients = [Client(mux.open_stream(["a"], user)) for user in ("7", None)]
    for client in clients:
        client.events()
    mux._delivery._announce_gaps([REVOCATION_CHANNEL], Cursor(mux.epoch, 1))
    assert [client.stream.reason for client in clients] == ["orders were lost"] * 2


def test_the_oldest_makes_room_and_its_client_must_not_come_back(make):
    mux = make()
    eviction = OldestEviction(mux.broker, mux.revocations.end_stream)
    mux.revocations.evict_oldest = eviction.handle_eviction
    clients = [Client(mux.open_stream(["a"], user, on_closed=eviction.remove_stream)) for user in ("7", "8", "7", "7")]
    for client in clients:
        client.events()
        mux.broker.leases.take_user_slot("user:" + client.stream.user_id, 9)
        eviction.add_stream(client.stream)
    seen = publish(mux, "a", "seen")
    for count, oldest in ((1, 0), (2, 2)):
        eviction.request_eviction("7")
        wait_taken(mux, count)
        until(lambda oldest=oldest: clients[oldest].stream.reason, 5, "it goes on")
        assert ends(clients[oldest]) == (["message", "ssemux.replaced"], "stop")
    clients[3].stream.mark_closed("its client left")
    eviction.request_eviction("7")
    wait_taken(mux, 3)
    assert not clients[1].stream.reason
    assert not mux.must_stay_away("7", ["a"], mux.parse_last_ids([seen]))  # the others of the user come and go as ever


def test_an_order_to_make_room_is_for_one_process(make):
    mux = make()
    eviction = OldestEviction(mux.broker, mux.revocations.end_stream)
    mux.revocations.evict_oldest = eviction.handle_eviction
    stream = mux.open_stream(["a"], "7")
    eviction.add_stream(stream)
    order(mux, user="7", stop=True, holder="elsewhere/1/abcdefgh")
    wait_taken(mux, 1)
    assert not stream.reason


# -- replays within bounds --------------------------------------------------------


def returning(make, events, size=1000, **options):
    """A mux with a history of one channel, and the cursor before it."""
    mux = make(**options)
    seen = publish(mux, "a", "seen")
    for number in range(events):
        publish(mux, "a", "%d %s" % (number, "x" * size))
    return mux, seen


def test_what_is_trimmed_while_a_client_replays_is_a_reset(make):
    """Pages are read as the client takes them; one that finds nothing left of what it wants says so."""
    mux, seen = returning(make, 300)
    client = Client(mux.open_stream(["a"], None, mux.parse_last_ids([seen])))
    first = client.stream.take_bytes(0.0)
    assert 0 < first.count(b"\nid: ") < 300
    mux.replay.begin_epoch(mux.epoch)  # what is shared was forgotten meanwhile
    mux.broker.history._limits = HistoryLimits(events=1)
    for _ in range(1000):
        publish(mux, "a", "later")
    events = client.wait(1, "ssemux.reset")
    assert [event.data for event in events] == ['{"channels":["a"],"reason":"history"}']
    assert not client.stream.is_over


def test_a_client_for_which_there_is_no_room_has_its_hello_and_heartbeats_then_its_page(make):
    mux, seen = returning(make, 1000, heartbeat=0.1, client_timeout=1.0, replay_bytes=1024 * 1024)
    holder = mux.replay.allowance.request(10**6, lambda: None)
    client = Client(mux.open_stream(["a"], None, mux.parse_last_ids([seen])))
    opening = client.stream.take_bytes(0.0)
    assert b"ssemux.hello" in opening and b"id: %s\n" % seen.encode() in opening and opening.count(b"\nid: ") == 1
    assert client.stream.take_bytes(0.0) == b": heartbeat\n\n" == client.stream.take_bytes(0.0)
    holder.give_back()
    assert len(client.events("message")) == 1000
    assert mux.replay.allowance.held == 0


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_a_stream_that_ends_gives_back_what_it_held(make, drawn):
    mux, seen = returning(make, 1000)
    stream = mux.open_stream(["a"], None, mux.parse_last_ids([seen]))
    for _ in range(drawn):
        stream.take_bytes(0.0)
    assert mux.replay.allowance.held > 0
    stream.mark_closed("left")
    assert mux.replay.allowance.held == 0


def test_an_opening_that_fails_gives_back_what_it_held(make):
    mux, seen = returning(make, 10)
    with pytest.raises(ZeroDivisionError):
        mux.open_stream(["a", "b"], None, mux.parse_last_ids([seen]), lambda names: [1 // 0], new=["b"])
    assert mux.replay.allowance.held == 0


def test_a_page_is_small_and_counted_twice(make):
    mux, seen = returning(make, 1000)
    stream = mux.open_stream(["a"], None, mux.parse_last_ids([seen]))
    page = stream.take_bytes(0.0)
    assert len(page) < 70_000 and mux.replay.allowance.held <= 2 * len(page)
