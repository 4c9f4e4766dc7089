"""A worker stops because of TERM, HUP, max_requests, or the loss of its master, and its clients hardly notice."""

from __future__ import annotations

import os
import signal
import time

import pytest

from flask_ssemux import Publisher
from tests.harness.waiting import until
from tests.server.test_trouble import alive

pytestmark = pytest.mark.engines("sqlite")

STREAM = "/events?channel=room:1"
OURS = {"config": "python:flask_ssemux.gunicorn_conf"}


def wait_gone(pids, timeout):
    began = time.monotonic()
    until(lambda: not any(alive(pid) for pid in pids), timeout, "old workers live on")
    return time.monotonic() - began


@pytest.fixture
def publisher(broker_url):
    """A publishing process beside the server: a request might meet a worker that is just closing its listener."""
    with Publisher(broker_url) as made:
        yield made


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_a_hup_with_two_hundred_streams_loses_nothing_and_spreads_the_reconnects(serve, publisher):
    site = serve(workers=2)
    old = site.server.worker_pids()
    with site.herd(200, STREAM) as herd:
        herd.wait_all(b"ssemux.hello", 10)
        sent = [publisher.publish("room:1", number) for number in range(20)]
        herd.wait_all(sent[-1].encode(), 5)
        site.server.signal(signal.SIGHUP)
        began = time.monotonic()
        while not all(stream.ended for stream in herd):
            sent.append(publisher.publish("room:1", len(sent)))
            time.sleep(0.01)
            assert time.monotonic() - began < 8
        assert wait_gone(old, 8 - (time.monotonic() - began)) < 8
        assert {stream.ended for stream in herd} == {"clean"}
        retries = sorted(stream.ending().retry for stream in herd)
        assert retries[0] >= 1500 and retries[-1] <= 4500
        quarters = [sum(1500 + 750 * n <= retry < 2250 + 750 * n for retry in retries) for n in range(4)]
        assert min(quarters) > 25  # of 50 clients each: no quarter of the window is left empty
        sent += [publisher.publish("room:1", len(sent)) for _ in range(20)]
        seen = [[event.own_id for event in stream.events("message")] for stream in herd]
        with site.herd(200, STREAM, headers_of=lambda i: {"Last-Event-ID": herd[i].last_event_id}) as again:
            again.wait_all(sent[-1].encode(), 10)
            for i, stream in enumerate(again):
                assert seen[i] + [event.own_id for event in stream.events("message")] == sent
                assert not stream.events("ssemux.reset")


def test_streams_survive_a_killed_master(serve):
    site = serve(workers=2)
    with site.herd(20) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        workers = site.server.worker_pids()
        os.kill(site.server.pid, signal.SIGKILL)
        wait_gone(workers, 8)
        until(lambda: all(stream.ended for stream in herd), 5, "streams go on")
        assert {stream.ended for stream in herd} == {"clean"}
        assert all(1500 <= stream.ending().retry <= 4500 for stream in herd)


@pytest.mark.parametrize("options", [{}, OURS], ids=["plain gunicorn", "our configuration"])
def test_a_worker_that_leaves_at_once_still_ends_its_streams(serve, options, tmp_path):
    """sys.exit in the worker, which gunicorn also calls when the master is gone."""
    site = serve(cwd=tmp_path, **options)  # a folder without gunicorn.conf.py
    with site.herd(10) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        site.get("/exit")
        until(lambda: all(stream.ended for stream in herd), 8, "streams go on")
        assert {stream.ended for stream in herd} == {"clean"}
        assert herd[0].ending().comments == (" this worker stops",)


def test_max_requests_sends_streams_to_the_next_worker(serve):
    site = serve(args=("--max-requests", "12"))
    with site.herd(5, STREAM) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        old = site.server.worker_pids()
        site.publish("room:1", "before")
        for _ in range(6):
            site.get("/ping")
        until(lambda: all(stream.ended for stream in herd), 5, "streams go on")
        assert {stream.ended for stream in herd} == {"clean"}
        last = herd[0].last_event_id
        wait_gone(old, 8)
    site.server.wait_workers(1, 10, gone=old)
    site.publish("room:1", "after")
    with site.stream(STREAM, last=last) as stream:
        stream.wait_for(b"data: after", 3)
        assert [event.data for event in stream.events("message")] == ["after"]


def test_a_client_that_does_not_read_does_not_delay_the_workers_end(serve):
    site = serve(args=("--graceful-timeout", "60"), env={"SSEMUX_QUEUE_BYTES": str(2**26)})
    stalled = site.stream(STREAM, rcvbuf=4096)
    stalled.wait_for(b"ssemux.hello", 2)
    stalled.pause()
    with site.stream(STREAM) as other:
        other.wait_for(b"ssemux.hello", 2)
        site.post("/burst?count=400&size=20000")
        other.wait_events(400, 10, name="n")
        old = site.server.worker_pids()
        site.server.signal(signal.SIGHUP)
        assert other.wait_end(4) == "clean"
        wait_gone(old, 8)
    stalled.close()


def test_an_old_stream_whose_client_does_not_read_does_not_delay_the_workers_end(serve):
    site = serve(args=("--graceful-timeout", "60"))
    stalled = site.stream("/old/fast", rcvbuf=4096)
    stalled.wait_headers(3)
    stalled.pause()
    old = site.server.worker_pids()
    site.wait_figure("wrapped", 1, 3)
    site.server.signal(signal.SIGHUP)
    wait_gone(old, 8)
    stalled.close()


def test_a_stream_that_arrives_while_the_worker_stops_is_sent_to_another(serve):
    """A slow view keeps the stopping worker, and its kept-alive connection, alive."""
    site = serve(args=("--graceful-timeout", "20", "--keep-alive", "20"))
    with site.stream("/old/sleeper?seconds=0.1") as warm:
        warm.wait_for(b"first", 3)
    import http.client

    kept = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    kept.request("GET", "/ping")
    pid = json_of(kept)["pid"]
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 2)
        site.server.signal(signal.SIGHUP)
        assert stream.wait_end(4) == "clean"
    kept.request("GET", "/events")
    answer = kept.getresponse()
    body = answer.read()
    assert answer.status == 200 and b": this worker stops" in body and alive(pid)
    assert 1500 <= int(body.split(b"retry: ")[1].split(b"\n")[0]) <= 4500
    kept.close()
    wait_gone([pid], 8)


def json_of(connection):
    import json

    return json.loads(connection.getresponse().read())
