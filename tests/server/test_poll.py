"""Long polls: an answer with what a stream would have sent, which ends at the first news; with greenlets and in
threads.
"""

from __future__ import annotations

import signal
import threading
import time

from flask_ssemux import Publisher
from tests.server.test_trouble import alive

NOW, POLL = "/events?channel=room:1&poll=now", "/events?channel=room:1&poll=1"


def whole(site, path=POLL, timeout=5.0, **options):
    """Return a poll's answer after it has ended cleanly."""
    with site.stream(path, **options) as poll:
        assert poll.wait_end(timeout) == "clean" and poll.status == 200
        return poll


def get_last_frame(poll):
    return poll.body.rstrip().split(b"\n\n")[-1]


def test_a_poll_is_answered_with_the_first_event_or_after_a_heartbeat(site):
    now = whole(site, NOW)
    (hello,) = now.frames()
    assert 1500 <= hello.retry <= 4500 and hello.event == "ssemux.hello"
    # What an old copy of ssemux-poll.js takes for the last frame begins with "retry:" only if it is to come back later.
    assert not get_last_frame(now).startswith(b"retry:")
    assert now.headers["content-type"] == "text/event-stream" and now.headers["cache-control"] == "no-store"

    with site.stream(POLL, last=now.last_event_id) as waiting:
        site.wait_figure("streams", 1, 2)
        site.post("/burst?count=5&size=10")
        assert waiting.wait_end(2) == "clean"
    assert [event.event for event in waiting.events()[:2]] == ["ssemux.hello", "n"]

    missed = whole(site, last=now.last_event_id)
    assert len(missed.events("n")) == 5 and missed.ended_at - missed.opened_at < 0.9  # it does not wait for more
    silent = whole(site, last=missed.last_event_id)
    assert silent.comments()[-1] == " heartbeat" and not silent.events("n")
    assert not get_last_frame(silent).startswith(b"retry:")
    assert silent.last_event_id == missed.last_event_id
    site.wait_figure("streams", 0, 2)


def test_polls_lose_nothing_and_repeat_nothing_while_events_come(site):
    last, seen, most = whole(site, NOW).last_event_id, [], 300
    publishing = threading.Thread(target=lambda: [site.post("/burst?count=10") for _ in range(most // 10)])
    publishing.start()
    while len(seen) < most:
        poll = whole(site, last=last)
        seen += [event.own_id for event in poll.events("n")]
        last = poll.last_event_id
    publishing.join()
    numbers = [int(cursor.split("-")[1]) for cursor in seen]
    assert numbers == list(range(numbers[0], numbers[0] + most))


def test_a_client_that_leaves_its_poll_is_noticed_at_once(serve):
    site = serve(env={"SSEMUX_HEARTBEAT": "20", "SSEMUX_CLIENT_TIMEOUT": "60"})
    with site.stream(POLL):
        site.wait_figure("streams", 1, 2)
    site.wait_figure("streams", 0, 2)


def test_a_poll_that_waits_counts_as_a_stream(serve):
    site = serve(env={"SSEMUX_MAX_STREAMS_PER_USER": "1", "SSEMUX_HEARTBEAT": "20", "SSEMUX_CLIENT_TIMEOUT": "60"})
    with site.stream(POLL, user="7") as first:
        site.wait_figure("streams", 1, 2)
        second = whole(site, user="7")
        assert b"this user holds 1 streams" in second.body and 10000 <= second.ending().retry <= 30000
        site.publish("room:1", 1)
        assert first.wait_end(2) == "clean"
        assert len(whole(site, NOW, user="7").events()) == 1


def test_a_worker_that_stops_answers_its_polls(serve, instance_env):
    site = serve(
        config="python:flask_ssemux.gunicorn_conf", env={"SSEMUX_HEARTBEAT": "20", "SSEMUX_CLIENT_TIMEOUT": "60"}
    )
    (worker,) = site.server.worker_pids()
    with site.stream(POLL) as waiting:
        site.wait_figure("streams", 1, 2)
        began = time.monotonic()
        site.server.signal(signal.SIGTERM)
        assert waiting.wait_end(3) == "clean"
        assert waiting.headers["connection"] == "close"
        site.server.wait(6)
        assert time.monotonic() - began < 6 and not alive(worker)
    assert 1500 <= waiting.ending().retry <= 4500 and get_last_frame(waiting).startswith(b"retry:")
    with Publisher("sqlite:///%s/ssemux.sqlite3" % instance_env["INSTANCE_PATH"]) as publisher:
        missed = publisher.publish("room:1", "meanwhile")
    site.server.start()
    assert [event.own_id for event in whole(site, last=waiting.last_event_id).events("message")] == [missed]


def test_a_long_replay_comes_in_answers_of_bounded_size(serve):
    site = serve()
    start = whole(site, NOW).last_event_id
    for _ in range(3):
        site.post("/burst?count=20&size=50000")
    sizes, seen, last = [], 0, start
    while seen < 60:
        poll = whole(site, last=last)
        sizes.append(len(poll.body))
        seen += len(poll.events("n"))
        last = poll.last_event_id
    assert seen == 60 and len(sizes) > 1 and max(sizes) < 2.2 * 1024 * 1024
