"""Tests of the harness's Redis servers: what is kept, what is lost, which server is the master."""

from __future__ import annotations

import time

import pytest
import redis

from tests.harness.redis import ASK_SECONDS, RedisServer
from tests.harness.waiting import until


def test_a_killed_server_comes_back_on_its_port_with_its_data(redis_server):
    assert redis_server.ask("SET", "a", "1")
    until(lambda: redis_server.info("persistence")["aof_pending_bio_fsync"] == "0", 5, "not written")
    redis_server.kill()
    port = redis_server.port
    with pytest.raises(redis.ConnectionError):
        redis_server.ask("PING")
    redis_server.restart()
    assert (redis_server.port, redis_server.ask("GET", "a")) == (port, "1")
    assert redis_server.url == f"redis://127.0.0.1:{port}/0"


def test_a_wiped_server_comes_back_empty(redis_server):
    redis_server.ask("SET", "a", "1")
    with pytest.raises(AssertionError, match="runs: its data cannot be wiped"):
        redis_server.wipe()
    redis_server.kill()
    redis_server.wipe()
    assert redis_server.restart().ask("GET", "a") is None


def test_without_aof_nothing_is_kept(running):
    server = running(RedisServer(aof=False))
    server.ask("SET", "a", "1")
    assert server.restart().ask("GET", "a") is None


def test_a_paused_server_answers_when_it_is_resumed(redis_server):
    redis_server.pause()
    started = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        redis_server.ask("PING")
    assert time.monotonic() - started >= ASK_SECONDS
    redis_server.resume()
    assert redis_server.ask("PING")


def test_password_and_extra_arguments(running, tmp_path):
    server = running(RedisServer(password="secret", args=["--unixsocket", str(tmp_path / "socket")]))
    assert server.ask("PING") and server.url.startswith("redis://:secret@127.0.0.1:")
    with redis.Redis.from_url(server.url.replace(":secret@", "")) as stranger, pytest.raises(redis.RedisError):
        stranger.ping()
    with redis.Redis(unix_socket_path=str(tmp_path / "socket"), password="secret") as local:
        assert local.ping()


def test_a_sentinel_makes_the_replica_the_master(sentinel):
    replica = sentinel.replicas[0]
    sentinel.master.ask("SET", "a", "1")
    assert sentinel.master.ask("WAIT", "1", "5000") == 1
    assert sentinel.master_port() == sentinel.master.port
    sentinel.master.kill()
    sentinel.wait_master(replica, 20)
    assert replica.ask("GET", "a") == "1"
