"""Latest events, from publish to a client that is new, slow, or comes back."""

from __future__ import annotations

import random
import re
import sys
import threading
import time
from pathlib import Path

import pytest

import flask_ssemux
from flask_ssemux.brokers import HistoryLimits, Range, Record
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.brokers.memory.history import MemoryHistory
from flask_ssemux.errors import InvalidChannel
from flask_ssemux.hub.hub import Hub
from flask_ssemux.hub.latest import LatestEvents
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.hub.replay import Replay
from flask_ssemux.hub.resume import NEW_CLIENT, parse_last_ids
from flask_ssemux.hub.stream import Stream
from flask_ssemux.hub.stream_state import LIVE
from flask_ssemux.options import Options
from flask_ssemux.sse.encode import LatestFrame, is_named, make_body
from flask_ssemux.worker.timer import Timer
from tests.brokers.parts import memory_with_history
from tests.harness.parser import Parser
from tests.harness.waiting import until

ALL = 10**9


# -- publish -------------------------------------------------------------------


def published(app):
    broker = app.extensions["ssemux"].worker.broker
    return [
        (r.channel, r.latest_key)
        for r in broker.history.read_events(["jobs", "bar:1", "user:7", "*"], 0, ALL, 100).records
    ]


def test_the_key_is_the_events_name(make_app):
    app = make_app()
    with app.app_context():
        flask_ssemux.publish("jobs", 1)
        flask_ssemux.publish("jobs", 1, event="p", latest=True)
        flask_ssemux.publish("jobs", 1, latest=True)
        flask_ssemux.send_to_user(7, 1, event="q", latest=True)
        flask_ssemux.broadcast(1, event="r", latest=True)
    assert published(app) == [("jobs", None), ("jobs", "p"), ("jobs", "message"), ("user:7", "q"), ("*", "r")]


@pytest.mark.parametrize("through", ["module", "object"])
def test_keep_latest_of_a_channel_is_for_all_its_events(make_app, through):
    mux = flask_ssemux.SSEMux()
    mux.keep_latest("bar:<number>", "quiet")
    app = make_app(mux)
    with app.app_context():
        publish = flask_ssemux.publish if through == "module" else mux.publish
        publish("bar:1", 1, event="p")
        publish("bar:1", 2, event="p")
        publish("jobs", 1, event="p")
    assert published(app) == [("bar:1", "p"), ("jobs", None)]


def test_keep_latest_is_for_channels_that_clients_name():
    with pytest.raises(InvalidChannel):
        flask_ssemux.SSEMux().keep_latest("user:<name>")


# -- what a process remembers ---------------------------------------------------


def test_the_newest_of_each_key_is_kept_in_whatever_order_they_come():
    latest = LatestEvents()
    newer = Record(5, "a", b"5", "p")
    for record in (newer, Record(3, "a", b"3", "p"), Record(4, "a", b"4", "q"), Record(6, "a", b"6")):
        latest.add_record(record)
    assert latest.list_records(["b", "a"]) == [Record(4, "a", b"4", "q"), newer]
    latest.forget_channel("a")
    assert latest.list_records(["a"]) == []


def test_no_more_events_are_kept_than_the_history_keeps_and_not_longer():
    now = [0.0]
    latest = LatestEvents(events=2, seconds=10.0, clock=lambda: now[0])
    for sequence, key in enumerate("abca", 1):
        latest.add_record(Record(sequence, "bar", b"", key))
    assert [record.latest_key for record in latest.list_records(["bar"])] == ["c", "a"]
    now[0] = 11.0
    latest.add_record(Record(9, "bar", b"", "d"))
    assert [record.latest_key for record in latest.list_records(["bar"])] == ["d"]
    now[0] = 22.0
    assert latest.list_records(["bar"]) == []


def test_the_history_cache_drops_superseded_events():
    broker = MemoryBroker(HistoryLimits())
    shared = Replay(broker.history, lambda: None, 1024**2)
    epoch = broker.history.get_newest_cursor().epoch
    shared.begin_epoch(epoch)
    for number in range(5):
        broker.history.append_event("a", b"%d" % number)
        broker.history.append_event("a", b"p", "p")
        assert shared.read_page({"a": Range(0, 2 * number + 2)}, epoch).data.count(b"id: ") == number + 2
    shared.forget_unused()
    shared.forget_unused()
    assert shared.size == 0


# -- a queue --------------------------------------------------------------------


def slow(events=5, size=10**6):
    stream = Stream(("a",), None, StreamLimits(events, size, 20.0, b": heartbeat\n\n"), 0.0)
    stream.opening = iter(())
    stream.take_bytes(0.0)
    return stream


def bar(number, key="p"):
    return LatestFrame.of(b"%s%d;" % (key.encode(), number), ("a", key))


def test_an_event_that_waits_is_replaced_by_the_next_which_goes_to_the_end():
    stream = slow()
    for frame in (b"one;", bar(1), b"two;", bar(1, "q"), bar(2), b"three;"):
        stream.offer(frame)
    assert stream.queue_size == (5, len(b"one;two;q1;p2;three;"))
    assert stream.take_bytes(0.0) == b"one;two;q1;p2;three;"
    stream.offer(bar(3))
    assert stream.take_bytes(0.0) == b"p3;" and stream.queue_size == (0, 0)


def test_latest_events_alone_never_close_a_slow_stream():
    stream = slow(events=3, size=40)
    stream.offer(b"one;")
    for number in range(10000):
        stream.offer(bar(number))
        stream.offer(bar(number, "q"))
    assert stream.state is LIVE and stream.take_bytes(0.0) == b"one;p9999;q9999;"


def test_other_events_still_close_a_slow_stream():
    stream = slow(events=3)
    for number in range(4):
        stream.offer(bar(number))
        stream.offer(b"%d;" % number)
    assert stream.reason == "its client reads too slowly: 4 frames, 9 bytes waited"


# -- new subscribers --------------------------------------------------------------


class Client:
    def __init__(self, stream):
        self.stream = stream
        self.parser = Parser()

    def take(self):
        data = self.stream.take_bytes(time.monotonic())
        self.parser.feed(data)
        return bool(data)

    def events(self):
        while self.take():
            pass
        return [(event.event, event.data) for event in self.parser.events if not event.event.startswith("ssemux.")]

    def ids(self):
        return [event.own_id for event in self.parser.events]

    def wait(self, expected):
        until(lambda: self.events() == expected, 5, lambda: str(self.events()))


class Asked(MemoryHistory):
    def __init__(self, *values):
        super().__init__(*values)
        self.asked = []

    def subscribe_channels(self, channels):
        named = [channel for channel in channels if is_named(channel)]  # not the channel of revocations
        self.asked += [named] if named else []
        return super().subscribe_channels(channels)


@pytest.fixture
def broker():
    made = memory_with_history(Asked, events=1000)
    yield made
    made.close()


def new_hub(broker, **options):
    return Hub(broker, Timer(20.0), Options(**options), lambda: time.sleep(0.001))


@pytest.fixture
def hub(broker):
    return new_hub(broker)


def say(broker, data, channel="a", event="p", latest=True):
    return str(broker.history.append_event(channel, make_body(channel, data, event), event if latest else None))


def settled(hub):
    until(lambda: hub._subscriptions.position == hub.broker.history.get_newest_cursor().sequence, 5, "not delivered")


def test_a_new_client_gets_the_latest_events_at_once_without_a_question_to_the_broker(hub, broker):
    for number in range(3):
        say(broker, number)
        say(broker, number, event="q")
        say(broker, "ordinary", latest=False)
    cursor = str(broker.history.get_newest_cursor())
    client = Client(hub.open_stream(["a", "b"], None))
    assert client.events() == [("p", "2"), ("q", "2")]
    assert client.ids() == [None, None, cursor]  # the hello, too: a client that is cut off in between gets them again
    say(broker, 3)
    client.wait([("p", "2"), ("q", "2"), ("p", "3")])
    assert Client(hub.open_stream(["a"], None)).events() == [("q", "2"), ("p", "3")]
    assert Client(hub.open_stream(["a"], None, hub.parse_last_ids(["nonsense"]))).events() == [("q", "2"), ("p", "3")]
    Client(hub.open_stream(["a"], None, hub.parse_last_ids([cursor])))
    assert list(map(list, broker.history.asked)) == [["a", "b"], ["a"], ["a"]]


def test_the_latest_events_follow_the_snapshot(hub, broker):
    say(broker, 1)
    stream = hub.open_stream(
        ["a"], None, NEW_CLIENT, lambda channels: [make_body(name, "s", "state") for name in channels]
    )
    assert Client(stream).events() == [("state", "s"), ("p", "1")]


def test_a_client_that_comes_back_gets_only_what_it_missed(hub, broker):
    seen = say(broker, 1)
    assert Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen]))).events() == []
    say(broker, 2)
    say(broker, 3)
    settled(hub)
    client = Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen])))
    assert client.events() == [("p", "3")] and client.ids()[-1] == str(broker.history.get_newest_cursor())


def test_a_channel_that_is_new_to_a_client_begins_with_its_latest_events(hub, broker):
    say(broker, 1, "b")
    seen = say(broker, 1)
    assert Client(hub.open_stream(["a", "b"], None, hub.parse_last_ids([seen]), new_channels=["b"])).events() == [
        ("p", "1")
    ]


def test_a_new_channel_of_a_client_that_is_ahead_of_this_worker_begins_with_the_newest_events(hub, broker):
    """The client comes from a worker that has delivered more; it gets no events from before that."""
    say(broker, 1, "b")
    Client(hub.open_stream(["a", "b"], None))
    newest = say(broker, 2, "b")
    seen = say(broker, 1)
    settled(hub)
    with hub._subscriptions._lock:  # as if the delivery of both were still under way
        hub._subscriptions.position = 1
        hub._subscriptions._latest.forget_all()
        hub._subscriptions._latest.add_record(Record(1, "b", make_body("b", 1, "p"), "p"))
    assert Client(hub.open_stream(["a", "b"], None, hub.parse_last_ids([seen]), new_channels=["b"])).events() == [
        ("p", "2")
    ], newest


def test_a_channel_whose_history_is_lost_begins_with_its_latest_events(broker):
    broker.history._limits = HistoryLimits(events=5)
    hub = new_hub(broker)
    seen = say(broker, "seen", latest=False)
    for number in range(20):
        say(broker, number, latest=False)
    say(broker, 7, event="bar")
    client = Client(hub.open_stream(["a"], None, hub.parse_last_ids([seen])))
    assert client.events() == [("bar", "7")]
    assert [event.event for event in client.parser.events] == ["ssemux.reset", "ssemux.hello", "bar"]


def test_a_channel_is_subscribed_again_after_its_last_stream_has_ended(hub, broker):
    Client(hub.open_stream(["b"], None))
    first = hub.open_stream(["a"], None)
    say(broker, 1)
    settled(hub)
    first.mark_closed("left")
    assert hub._subscriptions._latest.list_records(["a"]) == []
    say(broker, 2)
    settled(hub)
    assert Client(hub.open_stream(["a"], None)).events() == [("p", "2")]
    assert broker.history.asked == [["b"], ["a"], ["a"]]


def test_a_new_epoch_has_its_own_latest_events(hub, broker):
    say(broker, 1)
    hub.open_stream(["a"], None)
    settled(hub)
    other = Record(1, "a", make_body("a", "other", "p"), "p")  # the same sequence, of another epoch
    with broker._store.changed:
        broker.history._epoch, broker.history.events._latest["a"]["p"] = "bbbbbbbb", other
    hub._delivery._begin_epoch(broker.history.get_newest_cursor())
    assert Client(hub.open_stream(["a"], None)).events() == [("p", "other")]
    say(broker, 2, event="q")
    settled(hub)
    assert Client(hub.open_stream(["a"], None)).events() == [("p", "other"), ("q", "2")]


@pytest.mark.parametrize("seed", range(25))
def test_every_client_ends_with_the_newest_of_each_key_and_all_other_events(seed):
    """Random histories with two workers, and clients that are slow, are cut off with frames unread, and come back."""
    chance = random.Random(seed)
    broker = MemoryBroker(HistoryLimits(events=10000))
    hubs = [new_hub(broker, queue_events=10) for _ in range(2)]
    said, clients = [], [Roamer(hubs, chance) for _ in range(4)]
    for number in range(150):
        for client in clients:
            client.act()
        channel, event, latest = chance.choice("ab"), chance.choice("pq"), chance.random() < 0.6
        event = event if latest else "o"
        say(broker, number, channel, event, latest)
        said.append((channel, event, str(number)))
        if chance.random() < 0.1:
            time.sleep(0.001)  # lets the delivery go on, in the midst of it or not
    for channel in "ab":
        say(broker, "end", channel, "o", latest=False)
        said.append((channel, "o", "end"))
    ordinary = [event for event in said if event[1] == "o"]
    newest = {event[:2]: event[2] for event in said if event[1] != "o"}
    for client in clients:
        until(lambda client=client: client.has_both_ends(), 10, lambda client=client: str(client.seen[-5:]))
        assert [event for event in client.seen if event[1] == "o"] == ordinary
        assert {event[:2]: event[2] for event in client.seen if event[1] != "o"} == newest
    broker.close()


class Roamer:
    """A client that is there from the beginning and moves from worker to worker."""

    def __init__(self, hubs, chance):
        self._hubs, self._chance = hubs, chance
        self._last, self.seen = [], []
        self._connect()

    def _connect(self):
        self._client = Client(
            self._chance.choice(self._hubs).open_stream(["a", "b"], None, parse_last_ids(self._last, ""))
        )
        self._count = 0
        self._read()  # the opening: from now on it has a cursor

    def _read(self):
        self._client.take()
        for event in self._client.parser.events[self._count :]:
            self._count += 1
            self._last = [event.own_id] if event.own_id else self._last
            assert event.event != "ssemux.reset"
            if not event.event.startswith("ssemux."):
                self.seen.append((event.fields["channel"], event.event, event.data))

    def act(self):
        if self._client.stream.is_over or self._chance.random() < 0.05:
            self._client.stream.mark_closed("it went")
            self._connect()
        elif self._chance.random() < 0.2:
            self._read()

    def has_both_ends(self):
        if self._client.stream.is_over:
            self._client.stream.mark_closed("it was too slow")
            self._connect()
        self._read()
        return sum(event[2] == "end" for event in self.seen) == 2


def test_the_code_of_the_docs_runs(make_app):
    """The code of docs/latest.md and docs/presence.md, in an application."""
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    with app.app_context():
        for name in ("latest", "presence"):
            text = (Path(__file__).parents[2] / "docs" / (name + ".md")).read_text(encoding="utf-8")
            for block in re.findall(r"```python\n(.*?)```", text, re.S):
                exec(block, {"flask_ssemux": flask_ssemux, "mux": mux})
        flask_ssemux.publish("weather", "sun")
        broker = app.extensions["ssemux"].worker.broker
        page = broker.history.read_events(["jobs:42", "weather"], 0, ALL, 10)
        assert [(r.channel, r.latest_key) for r in page.records] == [
            ("jobs:42", "progress"), ("weather", "message")
        ]  # fmt: skip
        assert mux.presence("*") == {}


def test_no_frame_is_lost_or_torn_between_threads_while_others_are_superseded():
    """One writer and one reader, between which the interpreter switches as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        stream, took = slow(events=10**6), []
        writing = threading.Thread(target=write_mixed, args=(stream,))
        writing.start()
        while writing.is_alive() or stream.queue:
            took.append(stream.take_bytes(0.0))
        frames = b"".join(took).split(b";")[:-1]
        assert [frame for frame in frames if frame.isdigit()] == [b"%d" % n for n in range(20000)]
        bars = [int(frame[1:]) for frame in frames if not frame.isdigit()]
        assert bars == sorted(set(bars)) and bars[-1] == 19999
        assert stream.queue_size == (0, 0)
    finally:
        sys.setswitchinterval(interval)


def write_mixed(stream):
    for number in range(20000):
        stream.offer(b"%d;" % number)
        stream.offer(bar(number))
