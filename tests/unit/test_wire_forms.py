"""The forms of heartbeats and channels: ``SSEMUX_HEARTBEAT_FORM`` and ``SSEMUX_CHANNEL_FORM``."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits
from flask_ssemux.brokers.memory import MemoryBroker
from flask_ssemux.hub import comment_stream
from flask_ssemux.hub.hub import Hub
from flask_ssemux.options import Options
from flask_ssemux.sse.decode import Decoder
from flask_ssemux.sse.encode import LatestFrame, make_body
from flask_ssemux.worker.timer import Timer
from tests.harness.parser import parse
from tests.harness.waiting import until


@pytest.fixture
def make():
    brokers = []

    def make(**options):
        broker = MemoryBroker(HistoryLimits())
        brokers.append(broker)
        return Hub(broker, Timer(20.0), Options(**options), lambda: None)

    yield make
    for broker in brokers:
        broker.close()


def publish(hub, data, latest_key=None):
    return str(hub.broker.history.append_event("a", make_body("a", data, "n"), latest_key))


def take_until(stream, end):
    """Return the bytes of a stream up to these."""
    taken = bytearray()

    def has_come():
        taken.extend(stream.take_bytes(0.0))
        return taken.endswith(end)

    until(has_come, 5, lambda: repr(taken))
    return bytes(taken)


@pytest.mark.parametrize("form, line", [("field", b"channel: a"), ("comment", b": channel: a")])
def test_a_channel_has_the_same_form_in_snapshots_replay_latest_events_and_live(make, form, line):
    hub = make()
    hub.open_stream(["a"], None)
    before = publish(hub, "before", "n")
    until(lambda: hub._subscriptions.position == 1, 5, "not delivered")
    publish(hub, "missed")
    new = hub.open_stream(["a"], None, snapshots=lambda _: [make_body("a", "state", "n")], channel_form=form)
    back = hub.open_stream(["a"], None, hub.parse_last_ids([before]), channel_form=form)
    last = publish(hub, "live").encode()
    seen = {name: take_until(stream, b"id: %s\n\n" % last) for name, stream in (("new", new), ("back", back))}
    assert [event.data for event in parse(seen["new"]).events[1:]] == ["state", "before", "live"]
    assert [event.data for event in parse(seen["back"]).events[1:]] == ["missed", "live"]
    for bytes_of in seen.values():
        assert bytes_of.count(b"\n%s\ndata: " % line) == bytes_of.count(b"event: n\n")
        assert {frame.channel for frame in Decoder().feed(bytes_of)[1:]} == {"a"}


def test_a_frame_is_converted_once_for_all_streams_and_not_for_the_others(make):
    hub = make()
    fields, *comments = [hub.open_stream(["a"], None, channel_form=form) for form in ("field", "comment", "comment")]
    for stream in (fields, *comments):
        stream.take_bytes(0.0), stream.take_bytes(0.0)
    publish(hub, "x")
    until(lambda: comments[1].queue, 5, "not delivered")
    assert comments[0].queue[0] is comments[1].queue[0]
    assert fields.queue[0].replace(b"channel", b": channel") == comments[0].queue[0]


def test_a_latest_event_still_replaces_the_one_before_it():
    frames = [LatestFrame.of(make_body("a", data), ("a", "k")) for data in ("1", "2")]
    converted = [comment_stream._convert_frame(frame) for frame in frames]
    assert converted == [b": channel: a\ndata: 1\n\n", b": channel: a\ndata: 2\n\n"]
    assert [(type(frame), frame.key) for frame in converted] == [(LatestFrame, ("a", "k"))] * 2


@pytest.mark.parametrize(
    "options, heartbeat",
    [
        ({}, b": heartbeat\n\n"),
        ({"heartbeat_form": "line"}, b": heartbeat\n"),
        ({"heartbeat_event": "beat"}, b": heartbeat\n\nevent: beat\ndata: {}\n\n"),
        ({"heartbeat_form": "line", "heartbeat_event": "beat"}, b": heartbeat\nevent: beat\ndata: {}\n\n"),
    ],
)
def test_heartbeats_of_a_stream_and_of_one_that_waits_for_its_replay(make, options, heartbeat):
    hub = make(heartbeat=0.05, client_timeout=1.0, replay_bytes=1024 * 1024, **options)
    stream = hub.open_stream(["a"], None)
    stream.take_bytes(0.0), stream.take_bytes(0.0)
    stream.park_transport(lambda: None)
    stream.run_due_work(stream.sent_at + 1)
    assert stream.take_bytes(0.0) == heartbeat

    before = publish(hub, "before")
    publish(hub, "missed")
    holder = hub.replay.allowance.request(10**6, lambda: None)
    waiting = hub.open_stream(["a"], None, hub.parse_last_ids([before]))
    assert b"ssemux.hello" in waiting.take_bytes(0.0)
    assert waiting.take_bytes(0.0) == heartbeat
    holder.give_back()


def test_nothing_but_an_event_ends_in_an_empty_line(make):
    """What a stream sends from its opening to its end: the only empty lines are those of events."""
    hub = make()
    stream = hub.open_stream(["a"], None)
    hub.end_stream(stream, "bye")
    opening, _, rest = stream.take_bytes(0.0).partition(b"\n\n")
    assert parse(opening + b"\n\n").events[0].event == "ssemux.hello" and rest == b": ssemux\n"
    last = stream.take_bytes(0.0)
    assert last.startswith(b"retry: ") and last.endswith(b"\n: bye\n") and b"\n\n" not in last
