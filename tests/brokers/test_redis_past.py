"""Redis with a wrong clock, or with an older store: a copy that is put back, or one of an earlier version."""

from __future__ import annotations

import shutil
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from tests.brokers.conftest import make_older
from tests.harness.waiting import until

ALL = 10**17
YEAR = 365 * 86400


@pytest.fixture
def own(opened, redis_server):
    def make(**history):
        broker = open_broker(redis_server.url, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


# -- a clock that was ahead and is set right ----------------------------------


def test_history_that_came_while_the_clock_was_ahead_ages_from_then_on(redis, shared_redis, redis_url):
    broker = redis(seconds=1.0)
    for _ in range(20):
        broker.history.append_event("a", b"ahead")
        time.sleep(0.025)  # so that the clock gets marks
    make_older(shared_redis, redis_url, -YEAR)  # the events have times of a year ahead now
    broker.history.append_event("b", b"right")
    assert len(broker.history.read_events(["a"], 0, ALL, 100).records) == 20
    time.sleep(1.2)  # the age
    broker.history.append_event("b", b"right")
    page = broker.history.read_events(["a", "b"], 0, ALL, 100)
    assert ({record.channel for record in page.records}, page.missing) == ({"b"}, ["a", "b"])
    make_older(shared_redis, redis_url, 100)
    for _ in range(5):
        broker.history.append_event("b", b"right")
    assert broker.get_figures()["channels"] == 1


def test_leases_reports_and_presence_of_a_clock_that_was_ahead_expire(redis, shared_redis, redis_url):
    keys = "{%s}:" % redis_url.partition("?prefix=")[2]
    gone, ahead = "another-host/1/abcdefgh", int(time.time()) + YEAR
    shared_redis.ask("HSET", keys + "h:user:1", gone, "1 %d" % ahead)
    shared_redis.ask("HSET", keys + "holders", gone, "1 %d" % ahead)
    shared_redis.ask("HSET", keys + "reports", gone, '%d {"streams": 1}' % ahead)
    shared_redis.ask("HSET", keys + "present", gone, "%d " % (ahead * 1000))
    shared_redis.ask("HSET", keys + "p:a", gone + " 1", 1)
    shared_redis.ask("SADD", keys + "q:" + gone, "a\n1")
    shared_redis.ask("SET", keys + "claim:ticket", "other", "EX", YEAR)
    broker = redis()
    assert not broker.leases.take_user_slot("user:1", 1)
    until_ = int(shared_redis.ask("HGET", keys + "h:user:1", gone).split()[1])
    assert until_ < time.time() + 120
    assert broker.reports.read_reports() == []
    broker.presence.announce_presence({("b", "2"): 1}, 60.0)
    assert broker.presence.get_presence("a") == {}
    assert not broker.one_time_keys.use_one_time_key("ticket", 30)
    assert int(shared_redis.ask("TTL", keys + "claim:ticket")) <= 30
    assert broker.get_figures()["held"] == 0


# -- an older copy of the store ------------------------------------------------


def test_a_snapshot_that_is_put_back_without_a_restart_is_noticed(own, redis_server, recorder):
    """A process that saw a newer event proves it: the server itself claims to be the same."""
    publisher, worker = own(), own()
    start = worker.history.start_delivery(recorder.listener)
    worker.history.subscribe_channels(["a"])
    publisher.history.append_event("a", b"kept")
    kept = redis_server.ask("HGET", "{ssemux}:life", "sequence")
    lost = [publisher.history.append_event("a", b"lost") for _ in range(5)]
    recorder.wait(6)
    publisher.close()
    redis_server.ask("HSET", "{ssemux}:life", "sequence", kept)
    fresh = own()
    again = {fresh.history.append_event("a", b"new") for _ in range(3)}
    until(lambda: recorder.renewals, 10, "nobody noticed")
    assert recorder.renewals[0].epoch != start.epoch
    after = {fresh.history.append_event("a", b"after") for _ in range(8)}
    assert not after & set(lost) and all(cursor.epoch == recorder.renewals[0].epoch for cursor in after)
    assert again  # earlier ones are void together with their epoch


def test_a_snapshot_with_a_clock_that_is_behind_begins_an_epoch(own, redis_server, tmp_path):
    """A leap to an earlier time would give sequences twice."""
    broker = own()
    broker.history.append_event("a", b"x")
    redis_server.ask("HSET", "{ssemux}:life", "run", "another")
    leapt = broker.history.append_event("a", b"x")
    assert leapt.sequence > 10**15
    ahead = int((time.time() + 600) * 1000)
    redis_server.ask("HSET", "{ssemux}:life", "run", "another", "at", ahead)
    after = own().history.append_event("a", b"x")
    assert after.epoch != leapt.epoch


def test_a_skew_of_seconds_at_a_failover_keeps_the_epoch(own, redis_server):
    broker = own()
    before = broker.history.append_event("a", b"x")
    redis_server.ask("HSET", "{ssemux}:life", "run", "another", "at", int((time.time() + 3) * 1000))
    after = broker.history.append_event("a", b"x")
    assert after.epoch == before.epoch and after.sequence > 10**15


def test_a_whole_folder_that_is_put_back_gives_no_sequence_twice(own, redis_server, tmp_path):
    broker = own()
    broker.history.append_event("a", b"kept")
    shutil.copytree(redis_server.folder, tmp_path / "copy")
    lost = {broker.history.append_event("a", b"lost") for _ in range(5)}
    broker.close()
    redis_server.kill()
    shutil.rmtree(redis_server.folder)
    shutil.copytree(tmp_path / "copy", redis_server.folder)
    redis_server.start()
    fresh = own()
    new = {fresh.history.append_event("a", b"new") for _ in range(8)}
    assert not new & lost
    page = fresh.history.read_events(["a"], max(lost).sequence, ALL, 10)
    assert page.missing == ["a"]


# -- a store that an earlier version wrote --------------------------------------


def test_a_store_of_an_earlier_version_goes_on(redis, shared_redis, redis_url):
    """It has neither bytes nor the lists of own channels and of newest events."""
    keys = "{%s}:" % redis_url.partition("?prefix=")[2]
    now = int(time.time() * 1000)
    shared_redis.ask(
        "HSET", keys + "life", "epoch", "abcdefgh", "sequence", 4, "born", 0, "voids", "",
        "run", shared_redis.info("server")["run_id"], "seconds", "3600.0", "events", 10000, "at", now, "kept", 4,
    )  # fmt: skip
    for number, channel in enumerate(["a", "ssemux.control", "a", "b"], 1):
        shared_redis.ask("XADD", keys + "c:" + channel, "%d-0" % number, "b", "x" * 100)
    for number, channel in [(1, "a"), (2, "ssemux.control"), (4, "b")]:
        shared_redis.ask("ZADD", keys + "firsts", number, channel)
    broker = redis(size=1000)
    assert broker.history.append_event("a", b"y" * 400).sequence == 5
    assert [record.sequence for record in broker.history.read_events(["a", "b"], 0, ALL, 10).records] == [1, 3, 4, 5]
    for _ in range(10):
        broker.history.append_event("c", b"y" * 400)
    assert broker.get_figures()["bytes"] <= 1000
    page = broker.history.read_events(["a", "b", "ssemux.control"], 0, ALL, 10)
    assert ([record.channel for record in page.records], sorted(page.missing)) == (["ssemux.control"], ["a", "b"])
