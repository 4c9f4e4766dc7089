"""Streams that are ended by a revocation message, reauthorized, or evicted: over workers, hosts and stores.

Two gunicorns with three workers each stand for two hosts.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from tests.conftest import make_url
from tests.harness.client import Herd
from tests.harness.engines import ALL
from tests.harness.servers import Gunicorn
from tests.harness.waiting import until
from tests.server.conftest import QUICK, Site

pytestmark = pytest.mark.engines("sqlite")

GUARDED = "tests.apps.guarded:create_app()"
STREAM = "/events?channel=room:1"

#: The spread of the `retry:` of a stream that ends.
RETRIES = range(1500, 4501)


#: Each transport on two of the engines.
TRANSPORTS = {"sqlite": "handoff", "redis": "generator", "postgres": "handoff", "cluster": "generator"}


@pytest.fixture(scope="module")
def hosts(request, engine, tmp_path_factory):
    """Two hosts; ann's key is `a`, bob's `b`, and both may read room:1 when a test begins."""
    folder = tmp_path_factory.mktemp("hosts")
    env = {**QUICK, "INSTANCE_PATH": str(folder), "SSEMUX_TRANSPORT": TRANSPORTS[engine]}
    env.update({"SSEMUX_MAX_STREAMS_PER_USER": "100", "SSEMUX_BROKER": make_url(request, engine, folder)})
    with Gunicorn(GUARDED, workers=3, env=env) as first, Gunicorn(GUARDED, workers=3, env=env) as second:
        yield Site(first), Site(second)


@pytest.fixture(autouse=True)
def rights(request):
    if "hosts" in request.fixturenames:
        site = request.getfixturevalue("hosts")[0]
        site.post("/change", keys={"a": "ann", "b": "bob"}, give=["ann in room:1", "bob in room:1"])


@contextmanager
def open_all(hosts, count, path=STREAM):
    """Open streams of ann and bob in turn, on both hosts."""
    with Herd(lambda i: hosts[i // 2 % len(hosts)].port, count, path, lambda i: {"X-Key": "ab"[i % 2]}) as herd:
        herd.wait_all(b"ssemux.hello", 10)
        yield herd


def of(herd, name):
    return [stream for number, stream in enumerate(herd) if number % 2 == "ab".index(name)]


def wait_ended(streams, since):
    """Wait until the streams have ended within a second, as promised."""
    until(lambda: all(stream.ended for stream in streams), 5, lambda: str(list(streams)))
    assert max(stream.ended_at for stream in streams) - since < 1
    assert {stream.ended for stream in streams} == {"clean"}


def answer(site, key, **options):
    """Return the status for a client that comes or comes back, and the first frames."""
    with site.request(STREAM, {"X-Key": key, **{name.replace("_", "-"): v for name, v in options.items()}}) as stream:
        stream.wait_headers(3)
        return stream.status


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_disconnect_and_revoke_reach_every_worker_of_every_host(hosts):
    first, second = hosts
    with open_all(hosts, 48) as herd:
        ann, bob = of(herd, "a"), of(herd, "b")
        before = first.publish("room:1", "before")
        herd.wait_all(b"data: before", 5)
        began = time.monotonic()
        second.post("/disconnect", user_id="ann", reason="the key was changed")
        wait_ended(ann, began)
        for stream in ann:
            last = stream.ending()
            assert last.retry in RETRIES and last.comments == (" the key was changed",)
            assert stream.last_event_id == before
        assert answer(first, "a", Last_Event_ID=before) == 200
        second.post("/change", take=["bob in room:1"])
        began = time.monotonic()
        second.post("/revoke", user_id="bob", channel="room:2")  # a channel that bob does not read
        second.post("/revoke", user_id="bob", channel="room:1")
        wait_ended(bob, began)
        assert answer(first, "b", Last_Event_ID=before) == 403
        for stream in herd:
            assert [event.data for event in stream.events("message")] == ["before"]


@pytest.mark.engines("sqlite", "postgres", "cluster")
def test_a_stopped_client_stays_away_until_a_page_is_rendered_anew(hosts):
    first, second = hosts
    with first.request(STREAM, {"X-Key": "a"}) as away:
        cursor = away.wait_events(1, 3)[0].own_id
    with open_all(hosts, 24) as herd:
        began = time.monotonic()
        first.post("/disconnect", user_id="ann", stop=True, reason="logged out")
        wait_ended(of(herd, "a"), began)
        for stream in of(herd, "a"):
            (stop,) = stream.events("ssemux.stop")
            assert (stop.data, stop.own_id, stream.last_event_id) == ('{"reason":"logged out"}', "stop", "stop")
        for site in hosts:
            assert answer(site, "a", Last_Event_ID="stop") == 204
            assert answer(site, "b", Last_Event_ID="stop") == 204
            assert answer(site, "a", Last_Event_ID=cursor) == 204
            assert answer(site, "b", Last_Event_ID=cursor) == 200
            assert answer(site, "a") == 204, "for a while it is refused whatever it sends"
            assert answer(site, "b") == 200
        later = first.publish("room:1", "later")
        assert answer(first, "a", Last_Event_ID=later) == 200, "a page that was rendered since then is accepted"
        assert not any(stream.ended for stream in of(herd, "b"))
        began = time.monotonic()
        second.post("/disconnect", channel="room:1", stop=True)
        wait_ended(of(herd, "b"), began)
        assert answer(first, "b", Last_Event_ID=cursor) == 204


def test_disconnect_and_revoke_from_the_command_line(serve, lab_env):
    site = serve(workers=2)
    with site.herd(6, headers_of=lambda i: {"X-User": str(i % 2)}) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        command = [sys.executable, "-m", "flask", "ssemux", "disconnect", "--user", "1", "--stop"]
        subprocess.run(command, check=True, env=lab_env, timeout=30)
        until(lambda: all(stream.ended for stream in herd if stream.events("ssemux.stop")), 5, "they go on")
        assert [bool(stream.ended) for stream in herd] == [False, True] * 3


def test_a_user_with_a_hundred_streams_holds_32_and_pages_are_served(serve):
    site = serve(workers=3, env={"SSEMUX_MAX_STREAMS_PER_USER": "32"})
    longest = []

    def ask_page():
        began = time.monotonic()
        assert site.get("/ping")["pid"]
        longest.append(time.monotonic() - began)

    with site.herd(100, headers_of=lambda i: {"X-User": "greedy"}) as herd:

        def all_answered():
            ask_page()
            return all(stream.ended or b"ssemux.hello" in stream.body for stream in herd)

        until(all_answered, 10, "not all are answered")
        for _ in range(50):
            ask_page()
        assert sum(not stream.ended for stream in herd) == 32
        away = [stream for stream in herd if stream.ended]
        assert all(stream.ending().retry in range(10000, 30001) for stream in away)
        assert max(longest) < 1
        assert 1 <= site.server.log.count("a stream was sent away: this user holds 32 streams") <= 3  # one per worker
        print("longest page: %.0f ms of %d" % (max(longest) * 1000, len(longest)))


@pytest.mark.engines("sqlite", "postgres")
def test_the_oldest_stream_of_a_user_makes_room_wherever_it_is(serve):
    env = {"SSEMUX_MAX_STREAMS_PER_USER": "3", "SSEMUX_OVER_USER_LIMIT": "oldest"}
    sites = [serve(workers=2, env=env) for _ in range(2)]
    other = sites[0].stream(user="modest")
    streams = []
    for number in range(8):
        stream = sites[number % 2].stream(user="7")
        stream.wait_for(b"ssemux.hello", 4)
        streams.append(stream)
        if number >= 3:
            oldest = streams[number - 3]
            assert oldest.wait_end(3) == "clean"
            (replaced,) = oldest.events("ssemux.replaced")
            assert (replaced.own_id, oldest.last_event_id) == ("stop", "stop")
            assert "SSEMUX_MAX_STREAMS_PER_USER" in replaced.data
            assert [bool(one.ended) for one in streams] == [True] * (number - 2) + [False] * 3
    with sites[0].stream(user="7", last="stop") as back:
        back.wait_headers(3)
        assert back.status == 204
    assert not other.ended
    for stream in [other, *streams]:
        stream.close()


class Tab(threading.Thread):
    """A page whose script opens a new stream at once after each end, without a cursor, as htmx's extension does."""

    def __init__(self, site):
        super().__init__(daemon=True)
        self.site = site
        self.streams = []
        self.is_over = False

    def run(self):
        while not self.is_over:
            with self.site.stream(user="7") as stream:
                self.streams.append(stream)
                while not stream.ended and not self.is_over:
                    time.sleep(0.02)

    def has_stream(self):
        return b"ssemux.hello" in self.streams[-1].body and not self.streams[-1].ended


def test_tabs_that_open_a_new_stream_after_each_end_settle(serve):
    """One user slot and two tabs that want it: there were 28 requests in 20 s, endlessly, before."""
    site = serve(workers=2, env={"SSEMUX_MAX_STREAMS_PER_USER": "1", "SSEMUX_OVER_USER_LIMIT": "oldest"})
    crowd = [Tab(site) for _ in range(2)]
    for tab in crowd:
        tab.start()
    time.sleep(6)  # the time in which the tabs may send requests
    assert sum(tab.has_stream() for tab in crowd) == 1
    asked = sum(len(tab.streams) for tab in crowd)
    for tab in crowd:
        tab.is_over = True
        tab.join(5)
    assert asked <= 8


@pytest.mark.engines("sqlite", within=ALL)
def test_open_streams_are_reauthorized_with_a_pool_of_one_connection(serve):
    site = serve(GUARDED, env={"SSEMUX_RECHECK": "1"})
    rights = ["%s in room:%d" % (user, room) for user in ("ann", "bob") for room in (1, 2)]
    site.post("/change", keys={"a": "ann", "b": "bob"}, give=rights)
    with open_all([site], 20, STREAM + "&channel=room:2") as herd:
        begun = site.get("/ping")["asked"]
        assert begun == {"identify": 20, "authorize": 40}
        until(lambda: site.get("/ping")["asked"]["identify"] >= 60, 10, lambda: str(site.get("/ping")))
        site.post("/change", give=["broken"])
        site.server.wait_log("a stream could not be reauthorized, and stays open: RuntimeError", 5)
        assert not any(stream.ended for stream in herd)
        site.post("/change", take=["broken", "bob in room:2"])
        until(lambda: all(stream.ended for stream in of(herd, "b")), 5, "bob goes on")
        assert not any(stream.ended for stream in of(herd, "a"))
        assert of(herd, "b")[0].ending().comments == (" its user may not read it any more",)
        site.post("/change", keys={"a": None})
        until(lambda: all(stream.ended for stream in of(herd, "a")), 5, "ann goes on")
        assert site.get("/ping")["checked_out"] == 0
        assert site.server.log.count("could not be reauthorized") == 1


@pytest.mark.engines("sqlite", within=ALL)
def test_a_rule_that_hangs_does_not_stop_the_reauthorization_of_other_streams(serve):
    site = serve(GUARDED, env={"SSEMUX_RECHECK": "1"})
    site.post("/change", keys={"a": "ann", "b": "bob"}, give=["ann in room:1", "bob in room:2"])
    with site.request("/events?channel=room:1", {"X-Key": "a"}) as hangs, open_all([site], 20, "/events") as herd:
        hangs.wait_for(b"ssemux.hello", 5)
        streams = [site.request("/events?channel=room:2", {"X-Key": "b"}) for _ in range(10)]
        for stream in streams:
            stream.wait_for(b"ssemux.hello", 5)
        site.post("/change", give=["room:1 hangs"])
        site.server.wait_log("has not answered for", 5)
        site.post("/change", take=["bob in room:2"])
        began = time.monotonic()
        until(lambda: all(stream.ended for stream in streams), 5, "bob goes on")
        assert max(stream.ended_at for stream in streams) - began < 2 * 1 + 0.5
        hangs.wait_end(5)
        assert hangs.ending().comments == (" the application did not say whether its user may still read it",)
        assert not any(stream.ended for stream in herd)
        assert "ends, since it could not be reauthorized 3 times in a row" in site.server.log
        assert site.get("/ping")["checked_out"] == 0
        for stream in streams:
            stream.close()
