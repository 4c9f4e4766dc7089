"""The probe of a stream: who may open it, what it sends, and what it cannot do."""

from __future__ import annotations

import json

import pytest
from itsdangerous import URLSafeTimedSerializer

from flask_ssemux.http.probe import PARAMETER, Plan

BOTH_TRANSPORTS = True

SECRET = "for tests"  # the lab's


def path(plan, secret=SECRET, rest=""):
    return "/events?%s=%s%s" % (PARAMETER, plan.sign(secret), rest)


def probes(stream):
    return [json.loads(frame.data) for frame in stream.events("ssemux.probe")]


def test_frames_carry_the_time_when_they_were_sent_and_then_the_probe_ends(serve):
    site = serve()
    with site.stream(path(Plan(2))) as stream:
        assert stream.wait_end(10) == "clean"
        assert [frame["n"] for frame in probes(stream)] == [1, 2, 3]
        for frame, came in zip(probes(stream), stream.events("ssemux.probe")):
            assert 0 <= came.at - stream.opened_at - frame["at"] < 1
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.events()[0].event == "ssemux.hello"
    site.wait_figure("streams", 0, 3)


@pytest.mark.any_transport
def test_a_silence_has_the_requested_length(serve):
    with serve().stream(path(Plan(silence=2.5))) as stream:
        assert stream.wait_end(10) == "clean"
        assert len(probes(stream)) == 1
        assert stream.longest_silence() > 2  # two heartbeats
        assert stream.comments()[2:] == [" the probe is over"]  # the first two are the opening's


@pytest.mark.any_transport
def test_it_reads_no_events_of_users_and_stores_none(serve):
    site = serve()
    rest = "&channel=secret:1&channel=room:1&user=root"
    with site.stream(path(Plan(3), rest=rest), last="abcd-1") as stream:
        stream.wait_for(b"ssemux.probe", 5)
        before = site.publish("secret:1", "a secret")
        site.publish("room:1", "in the room")
        site.post("/send", user="root", data="for root")
        after = site.post("/broadcast", data="for all")["cursor"]
        assert int(after.split("-")[1]) == int(before.split("-")[1]) + 3 == 4
        stream.wait_end(10)
        assert {frame.event for frame in stream.events()} == {"ssemux.hello", "ssemux.probe"}
        for word in (b"secret", b"room", b"for root", b"for all"):
            assert word not in stream.body


def test_it_counts_as_a_stream(serve):
    site = serve(env={"SSEMUX_MAX_STREAMS": "1"})
    with site.stream(path(Plan(silence=20))) as stream:
        stream.wait_for(b"ssemux.hello", 5)
        assert site.figures()["streams"] == 1
        with site.stream(path(Plan(1))) as another:
            assert another.wait_end(5) == "clean"
            assert probes(another) == []
            assert b"SSEMUX_MAX_STREAMS" in another.body
    site.wait_figure("streams", 0, 3)
    for _ in range(2):  # its capacity is given back
        with site.stream(path(Plan(1))) as stream:
            assert stream.wait_end(5) == "clean"
            assert len(probes(stream)) == 2
        site.wait_figure("streams", 0, 3)


@pytest.mark.any_transport
def test_it_is_refused_without_a_valid_token(serve):
    site = serve()
    old = URLSafeTimedSerializer(SECRET, salt="another").dumps([1, 0, "x"])
    for token in ("", "1", Plan(1).sign("another key"), old):
        with site.stream("/events?%s=%s" % (PARAMETER, token)) as stream:
            assert stream.wait_end(5) == "clean"
            assert stream.status == 403
            refusal = json.loads(stream.body)
            assert refusal["error"] == "forbidden"
            assert refusal["message"].startswith("the probe's token was not made with this application's SECRET_KEY")
    assert site.figures()["streams"] == 0


@pytest.mark.any_transport
def test_head_opens_nothing(serve):
    site = serve()
    with site.stream(path(Plan(1)), method="HEAD") as stream:
        assert stream.wait_headers(5)["content-type"] == "text/event-stream"
    assert site.figures()["streams"] == 0


@pytest.mark.any_transport
def test_a_worker_that_stops_ends_it(serve):
    site = serve()
    with site.stream(path(Plan(silence=60))) as stream:
        stream.wait_for(b"ssemux.hello", 5)
        assert site.server.stop(10)
        assert stream.wait_end(5) == "clean"
