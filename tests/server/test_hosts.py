"""Many machines on one store: two gunicorns with different ports stand for two hosts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error

import pytest

from tests.harness.engines import SHARED
from tests.harness.postgres import PostgresServer
from tests.harness.waiting import until
from tests.server.test_workers import PLAIN

pytestmark = pytest.mark.engines("redis", "postgres", within=("redis", "postgres", "cluster"))

STREAM = "/events?channel=room:1"


@pytest.fixture
def hosts(serve, own_store):
    """Two hosts on one store that the test may break."""
    return serve(), serve()


class Publishing:
    """Publishes through both hosts in turn; keeps what was accepted, and how long a refusal took."""

    def __init__(self, hosts, pause=0.01):
        self.accepted, self.refused, self.longest = [], [], 0.0
        self._hosts, self._pause, self._on = hosts, pause, True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        number = 0
        while self._on:
            number += 1
            began = time.monotonic()
            try:
                self._hosts[number % 2].publish("room:1", number)
                self.accepted.append(str(number))
            except urllib.error.HTTPError as error:
                assert json.load(error)["error"] == "BrokerUnavailable"
                self.refused.append(str(number))
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(self._pause)

    def stop(self):
        self._on = False
        self._thread.join()


def data_of(stream):
    return [event.data for event in stream.events("message")]


@pytest.mark.engines("postgres", within=SHARED)
def test_events_from_either_host_the_command_line_and_a_process_arrive(serve, serve_threads, broker_url, lab_env):
    sites = [serve(workers=2), serve_threads()]
    streams = [site.stream(STREAM, user="1") for site in sites for _ in range(4)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    for site in sites:
        site.publish("room:1", "from %d" % site.port)
    subprocess.run([sys.executable, "-c", PLAIN, broker_url], check=True, timeout=30)
    shell = [sys.executable, "-m", "flask", "ssemux", "publish", "--everyone", "the end"]
    subprocess.run(shell, check=True, env=lab_env, timeout=30)
    for stream in streams:
        stream.wait_for(b"the end", 5)
        expected = ["from %d" % site.port for site in sites]
        assert data_of(stream) == [*expected, "from a process", "for one", "for all", "the end"]
        stream.close()


@pytest.mark.engines("redis", within=SHARED)
def test_a_client_moves_from_host_to_host(hosts):
    with hosts[0].stream(STREAM) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        hosts[1].publish("room:1", 1)
        stream.wait_for(b"data: 1", 3)
        last = stream.last_event_id
    hosts[0].publish("room:1", 2)
    hosts[1].publish("room:1", 3)
    with hosts[1].stream(STREAM, last=last) as stream:
        stream.wait_for(b"data: 3", 3)
        assert data_of(stream) == ["2", "3"]


@pytest.mark.engines("redis", "postgres", "cluster", within=("redis", "postgres", "cluster"))
def test_the_store_is_killed_for_three_seconds_and_no_event_is_lost(hosts, own_store):
    """The promise: streams stay open, heartbeats continue, every accepted event comes once and in order."""
    streams = [site.stream(STREAM, user=str(i)) for site in hosts for i in range(30)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    assert own_store.count_connections() <= 5 * len(hosts)
    publishing = Publishing(hosts)
    until(lambda: len(publishing.accepted) > 50, 10, "nothing is accepted")
    own_store.kill()
    time.sleep(3.0)  # the time that the promise names
    own_store.restart()
    before = len(publishing.accepted)
    until(lambda: len(publishing.accepted) > before + 50, 15, "nothing is accepted again")
    publishing.stop()
    last = hosts[0].publish("room:1", "the end")
    assert publishing.refused and publishing.longest < 4
    for stream in streams:
        stream.wait_for(b"the end", 5)
        seen = data_of(stream)
        numbers = [int(text) for text in seen[:-1]]
        assert numbers == sorted(set(numbers))
        assert set(publishing.accepted) <= set(seen)
        assert set(seen[:-1]) <= set(publishing.accepted) | set(publishing.refused)
        assert not stream.events("ssemux.reset") and not stream.ended
        assert stream.longest_silence() < 1.5  # the heartbeat is 1 s
        assert stream.last_event_id == last
        assert len(stream.events("ssemux.degraded")) == len(stream.events("ssemux.restored")) == 1
        stream.close()


@pytest.mark.engines("redis", within=("redis", "postgres", "cluster"))
def test_while_the_store_is_down_new_clients_get_a_retry(hosts, own_store):
    with hosts[0].stream(STREAM) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        own_store.kill()
        hosts[0].server.wait_log("the broker cannot be reached", 5)
        with hosts[0].stream("/events?channel=room:2") as late:
            assert late.wait_end(5) == "clean"
            assert late.status == 200 and late.ending().retry >= 10000
            assert b"the broker cannot be reached" in late.body
        own_store.restart()
        hosts[0].server.wait_log("the broker can be reached again", 10)
        with hosts[0].stream("/events?channel=room:2") as again:
            again.wait_for(b"ssemux.hello", 3)
        assert not stream.ended


def test_the_store_comes_back_empty_and_every_client_gets_a_reset(hosts, own_store):
    streams = [site.stream(STREAM) for site in hosts for _ in range(5)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    old = hosts[0].publish("room:1", "old")
    for stream in streams:
        stream.wait_for(b"data: old", 3)
    own_store.kill()
    own_store.wipe()
    own_store.restart()
    for stream in streams:
        stream.wait_for(b"ssemux.reset", 10)
        assert stream.events("ssemux.reset")[0].data == '{"channels":["room:1","*"],"reason":"epoch"}'
    hosts[1].publish("room:1", "new")
    for stream in streams:
        stream.wait_for(b"data: new", 5)
        assert data_of(stream) == ["old", "new"]
        stream.close()
    with hosts[1].stream(STREAM, last=old) as late:
        assert late.wait_events(1, 3)[0].data == '{"channels":["room:1","*"],"reason":"epoch"}'


@pytest.mark.engines("postgres", within=("postgres",))
def test_a_replica_that_is_behind_takes_over_and_every_client_gets_a_reset(serve, running):
    primary = running(PostgresServer(wal_level="replica"))
    replica = running(primary.make_replica())
    url = primary.url.replace("/postgres", ",127.0.0.1:%d/postgres" % replica.port)
    hosts = [serve(env={"SSEMUX_BROKER": url}) for _ in range(2)]
    streams = [site.stream(STREAM) for site in hosts for _ in range(5)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    hosts[0].publish("room:1", "kept")
    replica.wait_replayed(primary)
    replica.stop_following()
    lost = hosts[1].publish("room:1", "lost")
    for stream in streams:
        stream.wait_for(b"data: lost", 5)
    primary.kill()
    replica.promote()
    for stream in streams:
        stream.wait_for(b"ssemux.reset", 20)
        assert stream.events("ssemux.reset")[0].data == '{"channels":["room:1","*"],"reason":"epoch"}'
    hosts[0].publish("room:1", "new")
    for stream in streams:
        stream.wait_for(b"data: new", 5)
        assert data_of(stream) == ["kept", "lost", "new"] and not stream.ended
        stream.close()
    with hosts[1].stream(STREAM, last=lost) as late:
        assert late.wait_events(1, 3)[0].data == '{"channels":["room:1","*"],"reason":"epoch"}'


def test_a_hanging_store_delays_neither_heartbeats_nor_pages(hosts, own_store):
    with hosts[0].stream(STREAM) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        own_store.pause()
        try:
            stream.wait_for(b"ssemux.degraded", 15)
            assert hosts[0].get("/ping")["pid"]
        finally:
            own_store.resume()
        stream.wait_for(b"ssemux.restored", 15)
        hosts[1].publish("room:1", "after")
        stream.wait_for(b"after", 5)
        assert stream.longest_silence() < 1.5


def test_a_cursor_of_an_event_that_the_store_lost_resets_its_client_alone(hosts, own_store, engine):
    """Also a cursor that is made up: it neither hides behind what others read, nor spoils what others receive."""
    reason = "future" if engine == "postgres" else "history"  # PostgreSQL leaves sequences out before the next event
    with hosts[0].stream(STREAM) as stream:
        seen = stream.wait_events(1, 3)[0].own_id
    missed = [hosts[0].publish("room:1", number) for number in range(3)]
    own_store.restart()
    hosts[0].server.wait_log("the broker can be reached again", 10)
    with hosts[0].stream(STREAM) as watching:
        watching.wait_for(b"ssemux.hello", 15)
        epoch, _, last = missed[-1].partition("-")
        for _ in range(2):
            with hosts[0].stream(STREAM, last="%s-%d" % (epoch, int(last) + 1000)) as forged:
                (reset, *_) = forged.wait_events(1, 3)
                assert reset.data == '{"channels":["room:1","*"],"reason":"%s"}' % reason
            with hosts[0].stream(STREAM, last=seen) as honest:
                honest.wait_for(missed[-1].encode(), 3)
                assert [event.own_id for event in honest.events("message")] == missed
                assert not honest.events("ssemux.reset")
        assert not watching.events("ssemux.reset")
