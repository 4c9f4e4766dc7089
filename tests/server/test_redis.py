"""Many machines on one Redis: two gunicorns with different ports stand for two hosts."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error

import pytest

from tests.harness.waiting import until
from tests.server.test_workers import PLAIN

STREAM = "/events?channel=room:1"


@pytest.fixture
def hosts(serve, redis_server):
    """Two hosts on one Redis that the test may break."""
    env = {"SSEMUX_BROKER": redis_server.url}
    return serve(env=env), serve(env=env)


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


def test_events_from_either_host_the_command_line_and_a_process_arrive(serve, serve_threads, redis_url, lab_env):
    env = {"SSEMUX_BROKER": redis_url}
    sites = [serve(workers=2, env=env), serve_threads(env=env)]
    streams = [site.stream(STREAM, user="1") for site in sites for _ in range(4)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    for site in sites:
        site.publish("room:1", "from %d" % site.port)
    subprocess.run([sys.executable, "-c", PLAIN, redis_url], check=True, timeout=30)
    shell = [sys.executable, "-m", "flask", "ssemux", "publish", "--everyone", "the end"]
    subprocess.run(shell, check=True, env={**lab_env, **env}, timeout=30)
    for stream in streams:
        stream.wait_for(b"the end", 5)
        expected = ["from %d" % site.port for site in sites]
        assert data_of(stream) == [*expected, "from a process", "for one", "for all", "the end"]
        stream.close()


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


def test_redis_is_killed_for_three_seconds_and_no_event_is_lost(hosts, redis_server):
    """The promise: streams stay open, heartbeats continue, every accepted event comes once and in order."""
    streams = [site.stream(STREAM, user=str(i)) for site in hosts for i in range(30)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    ours = [line for line in redis_server.ask("CLIENT", "LIST").splitlines() if "cmd=client" not in line]
    assert len(ours) <= 5 * len(hosts)
    publishing = Publishing(hosts)
    until(lambda: len(publishing.accepted) > 50, 10, "nothing is accepted")
    redis_server.kill()
    time.sleep(3.0)  # the time that the promise names
    redis_server.restart()
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


def test_while_redis_is_down_new_clients_get_a_retry(hosts, redis_server):
    with hosts[0].stream(STREAM) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        redis_server.kill()
        hosts[0].server.wait_log("the broker cannot be reached", 5)
        with hosts[0].stream("/events?channel=room:2") as late:
            assert late.wait_end(5) == "clean"
            assert late.status == 200 and late.ending().retry >= 10000
            assert b"the broker cannot be reached" in late.body
        redis_server.restart()
        hosts[0].server.wait_log("the broker can be reached again", 10)
        with hosts[0].stream("/events?channel=room:2") as again:
            again.wait_for(b"ssemux.hello", 3)
        assert not stream.ended


def test_redis_comes_back_empty_and_every_client_gets_a_reset(hosts, redis_server):
    streams = [site.stream(STREAM) for site in hosts for _ in range(5)]
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 5)
    old = hosts[0].publish("room:1", "old")
    for stream in streams:
        stream.wait_for(b"data: old", 3)
    redis_server.kill()
    redis_server.wipe()
    redis_server.start()
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


def test_a_hanging_redis_delays_neither_heartbeats_nor_pages(hosts, redis_server):
    with hosts[0].stream(STREAM) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        redis_server.pause()
        try:
            stream.wait_for(b"ssemux.degraded", 15)
            assert hosts[0].get("/ping")["pid"]
        finally:
            redis_server.resume()
        stream.wait_for(b"ssemux.restored", 15)
        hosts[1].publish("room:1", "after")
        stream.wait_for(b"after", 5)
        assert stream.longest_silence() < 1.5


def test_a_cursor_of_an_event_that_redis_lost_resets_its_client_alone(hosts, redis_server):
    """Also a cursor that is made up: it neither hides behind what others read, nor spoils what others receive."""
    with hosts[0].stream(STREAM) as stream:
        seen = stream.wait_events(1, 3)[0].own_id
    missed = [hosts[0].publish("room:1", number) for number in range(3)]
    redis_server.restart()
    hosts[0].server.wait_log("the broker can be reached again", 10)
    with hosts[0].stream(STREAM) as watching:
        watching.wait_for(b"ssemux.hello", 15)
        epoch, _, last = missed[-1].partition("-")
        for _ in range(2):
            with hosts[0].stream(STREAM, last="%s-%d" % (epoch, int(last) + 1000)) as forged:
                assert forged.wait_events(1, 3)[0].data == '{"channels":["room:1","*"],"reason":"history"}'
            with hosts[0].stream(STREAM, last=seen) as honest:
                honest.wait_for(missed[-1].encode(), 3)
                assert [event.own_id for event in honest.events("message")] == missed
                assert not honest.events("ssemux.reset")
        assert not watching.events("ssemux.reset")
