"""The mux over a real memory broker: joining, replaying, renewing. Sockets are not needed for it."""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers import History, Record, Wanted
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.errors import BrokerBehind
from flask_ssemux.heart import Heart
from flask_ssemux.mux import PAGE, Mux
from flask_ssemux.options import Options
from flask_ssemux.wire import Cursor, body
from tests.harness.parser import Parser
from tests.harness.waiting import until


class Client:
    """Takes what a stream gives, as a transport would."""

    def __init__(self, stream):
        self.stream = stream
        self.parser = Parser()

    def events(self, name=None):
        while True:
            data = self.stream.take(time.monotonic())
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
        broker = broker or MemoryBroker(History())
        brokers.append(broker)
        return Mux(broker, Heart(20.0), Options(**options), lambda: time.sleep(0.001))

    yield make
    for broker in brokers:
        broker.close()


def publish(mux, channel, data):
    return str(mux.broker.append(channel, body(channel, data)))


def sequence(event):
    return int(event.own_id.split("-")[1])


def test_what_comes_while_the_first_stream_opens_is_not_lost(make):
    """The broker delivers from the moment that it listens, which is before its place is known here."""

    class Eager(MemoryBroker):
        def listen(self, listener):
            start = super().listen(listener)
            self.append("a", body("a", "early"))
            time.sleep(0.1)
            return start

    mux = make(Eager(History()))
    client = Client(mux.open(["a"], None))
    publish(mux, "a", "late")
    until(lambda: client.events()[-1].data == "late", 5, lambda: str(client.events()))
    hello, *events = client.events()
    assert [sequence(event) for event in events] == list(range(sequence(hello) + 1, 3))


def test_hello_tells_where_the_stream_begins(make):
    mux = make()
    cursor = publish(mux, "a", 1)
    hello = Client(mux.open(["a"], None)).events()[0]
    assert (hello.event, hello.own_id) == ("ssemux.hello", cursor)


def test_a_client_with_nothing_to_replay_moves_on_to_the_head(make):
    mux = make()
    seen = publish(mux, "a", 1)
    head = publish(mux, "b", 2)
    hello = Client(mux.open(["a"], None, [seen])).wait(1, "ssemux.hello")[0]
    assert hello.own_id in (seen, head)
    until(lambda: mux._position == 2, 5, "not delivered")
    assert Client(mux.open(["a"], None, [seen])).events()[0].own_id == head


@pytest.mark.parametrize("count", [1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_replay_has_no_seams_between_its_pages(make, count):
    mux = make()
    seen = publish(mux, "a", "seen")
    for number in range(count):
        publish(mux, "a", number)
        publish(mux, "b", "other")
    client = Client(mux.open(["a"], None, [seen]))
    live = publish(mux, "a", "live")
    events = client.wait(count + 1)
    assert [event.data for event in events] == [str(number) for number in range(count)] + ["live"]
    assert events[-1].own_id == live


def test_a_cursor_from_a_worker_that_is_ahead_is_believed(make):
    """This worker has not delivered yet what its client saw elsewhere: no reset, and no second time."""
    mux = make()
    mux.open(["a"], None)
    first = publish(mux, "a", 1)
    mux._position = 0  # as if its delivery were still under way
    client = Client(mux.open(["a"], None, [first]))
    assert [event.event for event in client.events()] == ["ssemux.hello"]
    assert client.stream.after == 1


def test_history_that_was_trimmed_resets_those_channels_and_replays_the_others(make):
    mux = make(MemoryBroker(History(events=5)))
    seen = publish(mux, "a", "seen")
    for number in range(20):
        publish(mux, "busy", number)
    publish(mux, "a", "missed")
    client = Client(mux.open(["a", "busy"], None, [seen]))
    reset, hello, missed = client.wait(1, "message") and client.events()
    assert (reset.event, reset.data, reset.own_id) == ("ssemux.reset", '{"channels":["busy"],"reason":"history"}', None)
    assert (hello.event, hello.own_id) == ("ssemux.hello", seen)
    assert missed.data == "missed"


def test_a_snapshot_is_repeated_until_it_was_whole(make):
    """The cursor comes with the last of its events, so a client that is cut off before has none to resume from."""
    mux = make()
    publish(mux, "a", 1)
    events = Client(mux.open(["a"], None, [], lambda channels: [body("a", 1, "s"), body("a", 2, "s")])).events()
    assert [event.event for event in events] == ["ssemux.hello", "s", "s"]
    assert [event.own_id is None for event in events] == [True, True, False]


def test_a_snapshot_is_for_what_is_new_or_lost_to_the_client(make):
    mux = make()
    asked = []

    def snapshots(channels):
        asked.append(list(channels))
        return []

    seen = publish(mux, "a", 1)
    mux.open(["a", "b"], None, [], snapshots)
    mux.open(["a", "b"], None, [seen], snapshots)
    mux.open(["a", "b"], None, ["not ours"], snapshots)
    assert asked == [["a", "b"], ["a", "b"]]


def test_a_channel_that_is_new_to_a_client_which_has_seen_others_begins_now_with_its_snapshot(make):
    mux = make()
    seen = publish(mux, "a", 1)
    publish(mux, "b", "before")
    publish(mux, "a", 2)

    def snapshots(names):
        return [body(name, "state", "s") for name in names]

    client = Client(mux.open(["a", "b"], None, [seen], snapshots, new=["b"]))
    assert [(event.event, event.data) for event in client.events()[1:]] == [("s", "state"), ("message", "2")]
    publish(mux, "b", "after")
    assert client.wait(2)[1].data == "after"


def test_nothing_falls_between_snapshot_and_live(make):
    mux = make()

    def snapshots(channels):
        yield body("a", "state", "s")
        publish(mux, "a", "meanwhile")

    client = Client(mux.open(["a"], None, [], snapshots))
    assert client.wait(1)[0].data == "meanwhile"
    assert [event.event for event in client.events()] == ["ssemux.hello", "s", "message"]


def test_a_snapshot_that_raises_leaves_no_stream_behind(make):
    mux = make()
    with pytest.raises(ZeroDivisionError):
        mux.open(["a"], None, [], lambda channels: [1 // 0])
    assert len(mux) == 0 and not mux._channels


def test_a_new_life_of_the_history_resets_live_streams(make):
    mux = make()
    client = Client(mux.open(["a"], None))
    client.events()
    mux._renewed(Cursor("newepoch", 7))
    reset = client.events("ssemux.reset")[0]
    assert (reset.data, reset.own_id) == ('{"channels":["a"],"reason":"epoch"}', "newepoch-7")
    assert client.stream.after == 7


def test_a_new_life_during_a_replay_ends_the_stream(make):
    mux = make()
    stream = mux.open(["a"], None)
    mux._renewed(Cursor("newepoch", 7))
    assert stream.is_over


def test_a_stream_that_fails_costs_the_others_nothing(make, caplog):
    mux = make()
    broken, well = mux.open(["a"], None), Client(mux.open(["a"], None))

    def fail():
        raise OSError("its wake-up failed")

    broken.take(0.0), broken.take(0.0)
    assert broken.park(fail)
    for number in range(3):
        publish(mux, "a", number)
    assert [event.data for event in well.wait(3)] == ["0", "1", "2"]
    assert broken.is_over and "could not take an event" in caplog.text


def test_a_stream_that_opens_during_a_drain_ends_too(make):
    mux = make()
    mux.drain("bye")
    stream = mux.open(["a"], None)
    Client(stream).events()
    assert stream.is_over


def test_events_trimmed_before_delivery_reset_their_channel(make):
    mux = make()
    one, other = Client(mux.open(["a"], None)), Client(mux.open(["b"], None))
    mux._gap(["a"], Cursor("x", 1))
    assert one.events("ssemux.reset") and not other.events("ssemux.reset")


def test_an_outage_longer_than_a_heartbeat_is_told_and_so_is_its_end(make):
    mux = make(heartbeat=20.0)
    client = Client(mux.open(["a"], None))
    mux._lost("gone")
    mux._found()
    assert [event.event for event in client.events()] == ["ssemux.hello"]
    mux._lost("gone")
    mux._outage.beat(time.monotonic())
    mux._found()
    assert [event.event for event in client.events()[1:]] == ["ssemux.degraded", "ssemux.restored"]


def test_a_drain_ends_every_stream_with_a_spread_retry(make):
    mux = make(retry=1000)
    clients = [Client(mux.open(["a"], None)) for _ in range(40)]
    mux.drain("bye")
    for client in clients:
        client.events()
    retries = [client.parser.frames[-1].retry for client in clients]
    assert all(500 <= retry <= 1500 for retry in retries) and len(set(retries)) > 20
    assert all(client.stream.is_over for client in clients)


def test_closed_streams_leave_nothing_behind(make):
    mux = make()
    closed = []
    streams = [mux.open(["a", "b%d" % n], None, on_closed=closed.append) for n in range(5)]
    for stream in streams:
        stream.gone("left")
        stream.gone("left")
    assert closed == streams
    assert not mux._streams and not mux._channels and not mux._targets


@pytest.mark.parametrize("seen", ["newlife0-5", "{epoch}-99"], ids=["of the new life", "ahead of this worker"])
def test_a_worker_that_has_yet_to_hear_of_a_new_life_does_not_guess(make, seen):
    """Another worker told the client of it; a reset, and a hello of the old life, would be lies."""
    mux = make()
    mux.open(("a",), None)
    epoch, mux.broker._epoch = mux.broker._epoch, "newlife0"
    with pytest.raises(BrokerBehind, match="the history began anew, and this worker has yet to hear of it"):
        mux.open(("a",), None, [seen.format(epoch=epoch)])
    assert len(mux) == 1


def test_what_was_published_before_a_channel_was_wanted_is_replayed_to_its_second_reader_too(make):
    """A broker that delivers only what is wanted leaves the mux at an old place, where `want` tells a newer one."""

    class Choosy(MemoryBroker):
        wanted = frozenset()

        def want(self, channels):
            self.wanted |= set(channels)
            return super().want(channels)

        def listen(self, listener):
            def deliver(records):
                chosen = [record for record in records if record.channel in self.wanted]
                if chosen:
                    listener.deliver(chosen)
                self.passed = records[-1].sequence

            return super().listen(listener._replace(deliver=deliver))

    mux = make(Choosy(History()))
    first = mux.open(["a"], None)
    seen = publish(mux, "a", 1)
    Client(first).wait(1)
    missed = publish(mux, "b", 2)
    until(lambda: mux.broker.passed == 2, 5, "it was not passed by")
    for _ in range(2):
        hello, *events = Client(mux.open(["b"], None, [seen])).events()
        assert [event.own_id for event in events] == [missed], hello


def test_a_place_of_the_life_before_is_none_in_the_next(make):
    """The life ends while a channel is asked for."""

    class Renewing(MemoryBroker):
        def listen(self, listener):
            self.listener = listener
            return super().listen(listener)

        def want(self, channels):
            if self.listener and "b" in channels:
                renewed, self.listener = self.listener.renewed, None
                renewed(Cursor("bbbbbbbb", 0))
                return Wanted(1000, [])
            return Wanted(0, [])

    mux = make(Renewing(History()))
    mux.open(["a"], None)
    crossing = Client(mux.open(["b"], None))
    later = Client(mux.open(["b"], None))
    mux._deliver([Record(1, "b", body("b", 1))])
    for client in (crossing, later):
        assert [event.own_id for event in client.wait(1)] == ["bbbbbbbb-1"]
