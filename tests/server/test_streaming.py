"""``flask_ssemux.streaming`` around old generators (tests/apps/lab.py), on greenlets and on threads."""

from __future__ import annotations

import re
import time

import pytest

OPENING = b"retry: 3000\n: ssemux\n"
IDLE = {"SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"}


def test_first_bytes_and_headers_come_before_the_first_event(site):
    with site.stream("/old/sleeper") as stream:
        stream.wait_for(OPENING + b"data: first\n\n", 2)
        assert stream.first_byte_at - stream.opened_at < 0.9
        assert stream.headers["content-type"] == "text/event-stream"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["cache-control"] == "no-cache, no-transform"


@pytest.mark.parametrize("path", ["/old/sleeper?seconds=3.3", "/old/poller?every=0.01&polls=330"])
def test_it_sends_heartbeats_while_the_generator_sleeps_or_polls(site, path):
    with site.stream(path) as stream:
        stream.wait_for(b"\n\n: heartbeat\n: heartbeat\n: heartbeat\n", 5)
        assert stream.longest_silence() < 1.5
        stream.wait_for(b"data: second\n\n" if "sleeper" in path else b"data: 330\n\n", 5)


def test_a_generator_that_sleeps_is_closed_at_once_when_its_client_leaves(serve):
    site = serve(env=IDLE)
    for path, word in [("/old/sleeper", "sleeper: finally"), ("/old/poller?every=60", "poller: GeneratorExit")]:
        with site.stream(path) as stream:
            stream.wait_for(b"data: ", 2)
        left = time.monotonic()
        site.server.wait_log(word, 3)
        assert time.monotonic() - left < 2
    site.wait_figure("wrapped", 0, 2)


def test_in_threads_it_is_closed_at_its_next_yield(serve_threads):
    site = serve_threads()
    with site.stream("/old/sleeper?seconds=2") as stream:
        stream.wait_for(b"data: first", 2)
    site.server.wait_log("sleeper: finally", 5)
    site.wait_figure("wrapped", 0, 2)


def test_status_headers_and_cookies_of_the_response_are_kept(site):
    with site.stream("/old/cookies") as stream:
        assert stream.wait_end(3) == "clean"
        assert stream.status == 201
        assert stream.headers["x-old"] == "kept"
        names = sorted(cookie.split("=")[0] for cookie in stream.headers["set-cookie"])
        assert names == ["flavour", "session"]
        assert stream.body == OPENING + b"data: 1\n\n"
    site.server.wait_log("cookies: on close", 3)


def test_it_keeps_its_context(site):
    with site.stream("/old/context?word=here") as stream:
        assert stream.wait_end(5) == "clean"
        assert stream.body == OPENING + b"data: here\n\n" * 3


def test_a_generator_that_raises_ends_its_stream_and_is_logged(site):
    with site.stream("/old/raising") as stream:
        assert stream.wait_end(3) == "clean"
        assert stream.body == OPENING + b"data: before\n\n"
    site.server.wait_log("RuntimeError: the old bug", 3)
    assert site.get("/ping")["pid"]


def test_a_heartbeat_never_cuts_an_event_in_two(site):
    with site.stream("/old/pieces") as stream:
        stream.wait_for(b"data: next\n\n", 8)
        assert [(event.event, event.data) for event in stream.events()] == [("slow", "ab"), ("message", "next")]
        assert re.fullmatch(OPENING + rb"event: slow\ndata: ab\n\n(: heartbeat\n)+data: next\n\n", stream.body)


def test_the_generator_waits_for_a_slow_client(site):
    with site.stream("/old/fast", rcvbuf=4096) as stream:
        stream.wait_for(b"data: ", 3)
        stream.pause()
        time.sleep(1.0)
    made = int(site.server.wait_log(r"fast: made (\d+)", 10).group(1))
    # The kernel's buffers hold less than this. A generator that does not wait makes hundreds of megabytes a second.
    assert made * 10000 < 20e6


def test_two_streams_do_not_delay_each_other(site):
    with site.stream("/old/sleeper") as sleeper, site.stream("/old/poller?every=0.05&polls=1") as poller:
        poller.wait_events(20, 5)
        sleeper.wait_for(b"data: first", 2)


def test_a_bare_generator_and_a_tuple_are_views_too(site):
    with site.stream("/old/bare") as bare, site.stream("/old/tupled") as tupled:
        bare.wait_end(3)
        tupled.wait_end(3)
        assert (bare.status, bare.body) == (200, OPENING + b"data: 1\n\n")
        assert (tupled.status, tupled.headers["x-old"]) == (202, "kept")


def test_an_answer_that_is_not_a_stream_is_not_changed(site):
    with site.stream("/old/not_a_stream") as refusal, site.stream("/old/elsewhere") as redirect:
        refusal.wait_end(3)
        redirect.wait_end(3)
        assert (refusal.status, refusal.headers["content-type"]) == (403, "application/json")
        assert b"log in first" in refusal.body
        assert redirect.status == 302


def test_a_head_request_gets_the_headers_only(site):
    with site.stream("/old/sleeper", method="HEAD") as stream:
        stream.wait_headers(3)
        assert stream.status == 200 and stream.body == b""
    site.wait_figure("wrapped", 0, 2)


def test_a_deploy_ends_old_streams_too(serve):
    site = serve()
    with site.stream("/old/sleeper") as stream:
        stream.wait_for(b"data: first", 2)
        site.server.signal(15)
        assert stream.wait_end(4) == "clean"
        assert stream.ending().comments == (" this worker stops",)
        assert 1500 <= stream.ending().retry <= 4500
        site.server.wait(6)
