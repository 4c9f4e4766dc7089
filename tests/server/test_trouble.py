"""What happens when something goes wrong, case by case, as far as it needs a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error

import pytest

from tests.harness.client import RawStream
from tests.harness.ports import free_port
from tests.harness.servers import answers
from tests.harness.waiting import until

BOTH_TRANSPORTS = True


@pytest.mark.any_transport
def test_a_sync_worker_answers_with_a_retry_and_says_what_to_change(serve):
    site = serve(args=("-k", "sync"))
    with site.stream() as stream:
        assert stream.wait_end(3) == "clean"
        assert stream.status == 200 and 10000 <= stream.ending().retry <= 30000
        assert b"start gunicorn with '-k gevent'" in stream.body
    site.server.wait_log("gunicorn's sync worker serves one request at a time", 3)
    assert site.get("/ping")["pid"]


@pytest.mark.any_transport
def test_a_memory_broker_with_two_workers_is_refused_at_start(serve):
    with pytest.raises(AssertionError, match="SSEMUX_BROKER='memory:' with 2 gunicorn workers"):
        serve(workers=2, env={"SSEMUX_BROKER": "memory:"})


def test_a_memory_broker_with_one_worker_works(serve):
    site = serve(env={"SSEMUX_BROKER": "memory:"})
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        site.publish("room:1", "there")
        stream.wait_for(b"there", 2)


@pytest.mark.any_transport
def test_a_bad_option_stops_the_start_and_is_named(serve):
    with pytest.raises(AssertionError, match="SSEMUX_HEARTBEAT='soon': must be seconds from 0.05 to 3600"):
        serve(env={"SSEMUX_HEARTBEAT": "soon"})


def test_a_full_worker_sends_clients_away_for_a_while_and_serves_pages(serve):
    site = serve(env={"SSEMUX_MAX_STREAMS": "5"})
    with site.herd(5) as herd:
        herd.wait_all(b"ssemux.hello", 3)
        with site.stream() as sixth:
            assert sixth.wait_end(2) == "clean"
            assert sixth.status == 200
            assert 10000 <= sixth.ending().retry <= 30000
            assert sixth.ending().comments == (" this worker holds 5 streams, the maximum (SSEMUX_MAX_STREAMS)",)
        assert site.get("/ping")["pid"]
    site.wait_figure("streams", 0, 3)
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 2)


@pytest.mark.any_transport
def test_the_default_leaves_a_fifth_of_the_connections_for_pages(serve):
    # Over the generator, because a handed-over stream frees its connection.
    site = serve(args=("--worker-connections", "20"), transport="generator")
    with site.herd(16) as herd:
        herd.wait_all(b"ssemux.hello", 3)
        with site.stream() as more:
            assert more.wait_end(2) == "clean"
        assert site.get("/ping")["pid"]


@pytest.mark.any_transport
@pytest.mark.parametrize("limit", [4, 48], ids=["without shares", "with shares"])
def test_a_users_streams_are_limited_over_all_workers(serve, limit):
    site = serve(workers=3, env={"SSEMUX_MAX_STREAMS_PER_USER": str(limit)})
    with site.herd(limit + 8, headers_of=lambda i: {"X-User": "greedy"}) as herd:
        until(lambda: all(s.ended or b"hello" in s.body for s in herd), 10, "not all answered")
        assert sum(b"ssemux.hello" in stream.body for stream in herd) == limit
        assert sum(b"this user holds %d streams" % limit in stream.body for stream in herd) == 8
        with site.stream(user="modest") as other:
            other.wait_for(b"ssemux.hello", 2)


@pytest.mark.parametrize("limit", [3, 48], ids=["without shares", "with shares"])
def test_user_slots_of_a_killed_worker_are_given_back(serve, limit):
    site = serve(workers=2, env={"SSEMUX_MAX_STREAMS_PER_USER": str(limit)})
    with site.herd(limit, headers_of=lambda i: {"X-User": "7"}) as herd:
        herd.wait_all(b"ssemux.hello", 10)
        victims = site.server.worker_pids()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        site.server.wait_workers(2, 10, gone=victims)
    with site.herd(limit, headers_of=lambda i: {"X-User": "7"}) as herd:
        herd.wait_all(b"ssemux.hello", 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["TERM", "HUP"])
def test_a_deploy_ends_streams_cleanly_and_soon(serve, number):
    site = serve(workers=2)
    with site.herd(40) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        old = site.server.worker_pids()
        site.server.signal(number)
        until(lambda: all(stream.ended for stream in herd), 5, "streams go on")
        assert {stream.ended for stream in herd} == {"clean"}
        retries = [stream.ending().retry for stream in herd]
        assert all(1500 <= retry <= 4500 for retry in retries) and max(retries) - min(retries) > 1000
        until(lambda: not any(os.path.exists("/proc/%d" % pid) and alive(pid) for pid in old), 6, "old workers live on")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_lifetime_that_is_shorter_than_a_heartbeat_is_kept(serve):
    site = serve(env={"SSEMUX_LIFETIME": "2", "SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"})
    with site.herd(5) as streams, site.herd(3, "/events?poll=1") as polls:
        everyone = [*streams, *polls]
        for stream in everyone:
            stream.wait_end(4)
        assert all(1.3 < stream.ended_at - stream.opened_at < 2.5 for stream in everyone)
        assert {stream.ending().comments for stream in everyone} == {(" its lifetime is over",)}


def test_a_stream_that_has_lived_long_enough_ends_cleanly_and_resumes(serve):
    site = serve(env={"SSEMUX_LIFETIME": "2"})
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        site.publish("room:1", "seen")
        assert stream.wait_end(4) == "clean"
        assert 1.3 < stream.ended_at - stream.opened_at < 2.6  # 80 to 100 % of 2 s, less a tick of the timer
        assert stream.ending().comments == (" its lifetime is over",)
        last = stream.last_event_id
    site.publish("room:1", "missed")
    with site.stream("/events?channel=room:1", last=last) as stream:
        assert stream.wait_events(2, 2)[1].data == "missed"


def test_the_heartbeat_can_be_an_event_too(serve):
    site = serve(env={"SSEMUX_HEARTBEAT_EVENT": "beat"})
    with site.stream() as stream:
        beat = stream.wait_events(2, 3)[1]
        assert (beat.event, beat.data, beat.own_id) == ("beat", "{}", None)
        assert b": heartbeat\n\nevent: beat\n" in stream.body


def test_while_the_store_is_away_streams_send_heartbeats_and_publishing_fails(serve, instance_env):
    site = serve()
    folder = instance_env["INSTANCE_PATH"]
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        os.rename(folder, folder + ".away")
        open(folder, "w").close()
        stream.wait_for(b"ssemux.degraded", 5)
        started = time.monotonic()
        with pytest.raises(urllib.error.HTTPError) as refused:
            site.publish("room:1", "not accepted")
        assert time.monotonic() - started < 4
        assert json.load(refused.value)["error"] == "BrokerUnavailable"
        with site.stream() as late, site.stream(user="7") as known:
            assert [event.event for event in late.wait_events(2, 4)] == ["ssemux.hello", "ssemux.degraded"]
            assert known.wait_end(4) == "clean"  # its user's streams cannot be counted now
            assert b"the broker cannot be reached" in known.body and known.ending().retry >= 10000
        os.unlink(folder)
        os.rename(folder + ".away", folder)
        stream.wait_for(b"ssemux.restored", 5)
        site.publish("room:1", "accepted")
        stream.wait_for(b"accepted", 3)
        assert [event.data for event in stream.events("message")] == ["accepted"]
        assert stream.longest_silence() < 1.5 and not stream.ended


@pytest.mark.any_transport
def test_a_refused_event_says_why_and_stores_nothing(serve):
    site = serve()
    before = site.publish("room:1", "before")
    for values, message in [
        ({"channel": "a\nb", "data": 1}, "channel 'a\\nb' has a line break or NUL in it, which would forge a field"),
        ({"channel": "a", "data": 1, "event": "x\rid: 9"}, "event 'x\\rid: 9' has a line break or NUL in it"),
        ({"channel": "a", "data": "x" * 300000}, "an event has at most 262144 bytes (SSEMUX_MAX_EVENT_BYTES);"),
    ]:
        with pytest.raises(urllib.error.HTTPError) as refused:
            site.post("/publish", **values)
        assert message in json.load(refused.value)["message"]
    after = site.publish("room:1", "after")
    assert int(after.split("-")[1]) == int(before.split("-")[1]) + 1


def test_a_preloaded_application_notices_a_deploy_too(serve):
    site = serve("tests.apps.preloaded:app", args=("--preload",), env={"SSEMUX_MAX_STREAMS": "100"})
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 2)
        site.server.signal(signal.SIGTERM)
        assert stream.wait_end(4) == "clean"
        assert stream.ending().comments == (" this worker stops",)


UNPATCHED = """
import sys
from gevent.pywsgi import WSGIServer
from tests.apps.lab import create_app
WSGIServer(("127.0.0.1", int(sys.argv[1])), create_app(), log=None).serve_forever()
"""


def test_gevent_without_its_patches_is_named_and_does_not_hang(lab_env):
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", UNPATCHED, str(port)], env=lab_env, stderr=subprocess.PIPE)
    try:
        until(lambda: answers(port), 10, "the server does not answer")
        with RawStream(port, "/events") as stream:
            assert stream.wait_end(3) == "clean"
            assert b"call gevent.monkey.patch_all() before anything else is imported" in stream.body
        assert answers(port)
    finally:
        server.kill()
        assert b"a stream was refused: this server runs on gevent" in server.communicate()[1]
