"""One stream, on gunicorn with greenlets and on ``flask run`` with threads: first bytes, events, replay."""

from __future__ import annotations

import re

import pytest

from tests.server.conftest import assert_next_request_is_answered

HELLO = b'event: ssemux.hello\ndata: {"heartbeat":1.0,"timeout":6.0}\nid: '


def test_the_first_bytes_come_at_once_with_the_headers(site):
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 2)
        assert stream.status == 200
        assert stream.first_byte_at - stream.opened_at < 0.9
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["cache-control"] == "no-cache, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["content-encoding"] == "identity"
        assert "content-length" not in stream.headers


@pytest.mark.parametrize(
    "worker, transport",
    [("gevent", "generator"), ("gevent", "handoff"), ("gevent_pywsgi", "generator")],
    indirect=["transport"],
)
def test_a_stream_says_that_its_connection_closes(serve, worker):
    """Otherwise its client may send the next request on the connection while gunicorn closes it."""
    site = serve(args=("-k", worker), env={"SSEMUX_LIFETIME": "1"})
    for path in ("/events", "/old/bare"):
        with site.stream(path) as stream:
            assert stream.wait_end(4) == "clean"
            assert stream.headers["connection"] == "close"
            stream.wait_for(lambda stream: stream.eof_at, 1)
        assert_next_request_is_answered(site, path)


def test_the_first_bytes_are_one_frame_and_the_beginning_of_the_next(site):
    with site.stream() as stream:
        stream.wait_for(HELLO, 2)
        (hello,) = stream.frames()
        assert re.match(rb"retry: \d+\n: ssemux\nevent: ssemux.hello\ndata: ", stream.body)
        assert stream.body.endswith(b"\nid: %s\n\n: ssemux\n" % hello.own_id.encode())
        assert (hello.event, hello.own_id) == ("ssemux.hello", site.publish("room:9", 1).split("-")[0] + "-0")


def test_the_heartbeat_is_exact_and_comes_only_in_silence(site):
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b": heartbeat\n\n" * 5, 8)
        silences = [later - sooner for (sooner, _), (later, _) in zip(stream.blocks, stream.blocks[1:])]
        assert max(silences) < 1.5 and silences[-1] > 0.8  # by then it has its own time
        for number in range(8):
            site.publish("room:1", number)
            stream.wait_events(number + 2, 2)
        assert stream.body.rpartition(b"\nid: ")[0].endswith(b"\ndata: 7")


def test_events_arrive_in_order_with_their_fields(site):
    with site.stream("/events?channel=room:1&channel=room:2", user="7") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        cursors = [
            site.publish("room:1", "one\ntwo", event="note"),
            site.publish("room:2", {"é": [1, None]}),
            site.post("/send", user="7", data="mine")["cursor"],
            site.post("/broadcast", data="all", event="deploy")["cursor"],
        ]
        events = stream.wait_events(5, 3)[1:]
        assert [event.own_id for event in events] == cursors
        assert [(e.event, e.data, e.fields.get("channel")) for e in events] == [
            ("note", "one\ntwo", "room:1"),
            ("message", '{"\\u00e9":[1,null]}', "room:2"),
            ("message", "mine", None),
            ("deploy", "all", None),
        ]


def test_no_client_gets_events_of_other_channels(site):
    with site.stream(user="7") as seven, site.stream("/events?channel=room:1", user="8") as eight:
        for stream in (seven, eight):
            stream.wait_for(b"ssemux.hello", 2)
        site.post("/send", user="8", data="for 8")
        site.publish("room:1", "for room 1")
        site.publish("room:2", "for nobody here")
        site.post("/broadcast", data="for all")
        seven.wait_for(b"for all", 3)
        eight.wait_for(b"for all", 3)
        assert [event.data for event in seven.events()[1:]] == ["for all"]
        assert [event.data for event in eight.events()[1:]] == ["for 8", "for room 1", "for all"]


def test_a_client_that_returns_gets_what_it_missed_in_order_and_once(site):
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        site.publish("room:1", 0)
        seen = stream.wait_events(2, 3)[-1].own_id
    missed = [site.publish("room:1", number) for number in range(1, 8)]
    site.publish("room:2", "not asked for")
    with site.stream("/events?channel=room:1", last=seen) as stream:
        stream.wait_events(8, 3)
        live = site.publish("room:1", 8)
        events = stream.wait_events(9, 3)
        assert events[0].own_id == seen
        assert [event.own_id for event in events[1:]] == missed + [live]
        assert [event.data for event in events[1:]] == [str(number) for number in range(1, 9)]


def test_the_second_reader_of_a_channel_that_nobody_read_gets_what_it_missed(site):
    """What was published before this worker subscribed to the channel is history to every later stream, not only the
    first.
    """
    with site.stream() as stream:
        seen = stream.wait_events(1, 2)[0].own_id
    missed = [site.publish("room:1", number) for number in range(3)]
    with site.stream("/events?channel=room:1") as first:
        first.wait_for(b"ssemux.hello", 2)
        with site.stream("/events?channel=room:1", last=seen) as second:
            assert [event.own_id for event in second.wait_events(4, 3)[1:]] == missed


def test_a_client_cut_off_before_its_first_event_resumes_from_the_hello(site):
    with site.stream("/events?channel=room:1") as stream:
        hello = stream.wait_events(1, 2)[0]
    site.publish("room:1", "missed")
    with site.stream("/events?channel=room:1", last=hello.own_id) as stream:
        assert stream.wait_events(2, 3)[1].data == "missed"


@pytest.mark.parametrize("name", ["lastEventId", "Last-Event-ID", "last_event_id", "evs_last_event_id"])
def test_the_cursor_may_come_as_a_parameter_and_the_newest_wins(site, name):
    old, new = site.publish("room:1", 1), site.publish("room:1", 2)
    site.publish("room:1", 3)
    with site.stream("/events?channel=room:1&%s=%s" % (name, new), last=old) as stream:
        assert [event.data for event in stream.wait_events(2, 3)[1:]] == ["3"]


@pytest.mark.parametrize(
    "last, reason",
    [
        ("42", "unknown"),
        ("abcdefgh--1", "unknown"),
        ("abcdefgh-99999999999999999999999999", "unknown"),
        ("x" * 3000, "unknown"),
        ("1' OR '1'='1", "unknown"),
        ("%s%d%n%00", "unknown"),
        ("\xff\xfe", "unknown"),
        ("abcdefgh-7", "epoch"),
    ],
)
def test_hostile_and_foreign_cursors_get_a_reset_first(site, last, reason):
    with site.stream("/events?channel=room:1", last=last) as stream:
        reset, hello = stream.wait_events(2, 3)
        assert (stream.status, reset.event, hello.event) == (200, "ssemux.reset", "ssemux.hello")
        assert reset.data == '{"channels":["room:1","*"],"reason":"%s"}' % reason
        site.publish("room:1", "live")
        assert stream.wait_events(3, 3)[2].data == "live"


def test_a_cursor_of_the_future_gets_a_reset(site):
    epoch, sequence = site.publish("room:1", 1).split("-")
    with site.stream("/events?channel=room:1", last="%s-%d" % (epoch, int(sequence) + 5)) as stream:
        assert '"reason":"future"' in stream.wait_events(1, 3)[0].data


def test_replay_and_live_events_join_without_gap_or_double_during_a_burst(site):
    """Streams that open at any moment of a burst, with a cursor before it, receive all of it once."""
    start = site.publish("room:1", "start")
    import threading

    rain = threading.Thread(target=site.post, args=("/burst?count=1500",))
    rain.start()
    streams = []
    try:
        for _ in range(12):
            streams.append(site.stream("/events?channel=room:1", last=start))
            streams[-1].wait_for(b"ssemux.hello", 5)
        rain.join()
        for stream in streams:
            events = stream.wait_events(1500, 20, name="n")
            sequences = [int(event.own_id.split("-")[1]) for event in events]
            assert sequences == list(range(sequences[0], sequences[0] + 1500))
            assert not stream.events("ssemux.reset")
    finally:
        for stream in streams:
            stream.close()


def test_a_long_history_is_replayed_in_pages(site):
    start = site.publish("room:1", "start")
    site.post("/burst?count=950")
    with site.stream("/events?channel=room:1", last=start) as stream:
        events = stream.wait_events(950, 10, name="n")
        assert [event.data.split(",")[0] for event in events] == ['{"n":%d' % number for number in range(950)]
