"""Redis users with few rights: publishing works completely or not at all, and the error names the missing right."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.errors import BrokerUnavailable
from tests.harness.redis import RedisServer
from tests.harness.waiting import until

ALL = 10**17

#: Every command of the script that appends, also those that only trim.
COMMANDS = [
    "eval", "hmget", "exists", "time", "hget", "hset", "hsetnx", "hmset", "hdel", "del", "xadd", "xdel", "xlen",
    "xrange", "zadd", "zrem", "zscore", "zcard", "zpopmin", "zrange", "zrangebyscore", "rpush", "lindex", "lrange",
    "lpop", "rpop", "pexpire", "publish",
]  # fmt: skip


@pytest.fixture(scope="module")
def server():
    with RedisServer(aof=False) as made:
        yield made


@pytest.fixture
def user(server, opened):
    """user(rights): a broker of a user with these rights, on an empty server."""
    server.ask("FLUSHALL")

    def make(rights, **history):
        server.ask("ACL", "SETUSER", "shop", "reset", "on", ">s3cret", *rights.split())
        broker = open_broker("redis://shop:s3cret@127.0.0.1:%d/0" % server.port, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.fixture
def root(server, opened):
    def make(**history):
        broker = open_broker(server.url, HistoryLimits(**history))
        opened(broker)
        return broker

    return make


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("latest", [None, "key"])
def test_without_any_one_command_nothing_is_stored_and_nothing_delivered(user, root, recorder, command, latest):
    watching = root(events=10)
    watching.history.start_delivery(recorder.listener)
    watching.history.subscribe_channels(["a"])
    watching.history.append_event("a", b"first", latest)
    broker = user("~* &* +@all -%s" % command, events=10)
    with pytest.raises(BrokerUnavailable) as raised:
        broker.history.append_event("a", b"s3cret words", latest)
    assert command in str(raised.value).lower() and "docs/redis.md" in str(raised.value)
    assert "s3cret" not in str(raised.value)
    watching.history.append_event("a", b"last")
    until_last = [record.body for record in recorder.wait(2)]
    assert until_last == [b"first", b"last"]
    kept = [record.body for record in watching.history.read_events(["a"], 0, ALL, 10).records]
    assert kept == [b"first", b"last"]


def test_without_the_right_to_a_channel_nothing_is_stored(user, root):
    """As for new users of Redis 7: no channels at all; or only those of some events."""
    for rights in ("~* resetchannels +@all", "~* resetchannels &{ssemux}@0:b +@all"):
        broker = user(rights)
        for latest in (None, "key"):
            with pytest.raises(BrokerUnavailable, match="(?i)publish.*docs/redis.md"):
                broker.history.append_event("a", b"x", latest)
        assert broker.history.read_events(["a"], 0, ALL, 10).records == []
        assert broker.get_figures()["events"] == 0
    before = broker.history.append_event("b", b"y")
    assert [record.body for record in broker.history.read_events(["a", "b"], 0, ALL, 10).records] == [b"y"]
    assert root().history.append_event("a", b"z").sequence > before.sequence


def test_a_right_that_is_taken_away_later(user, server, root):
    broker = user("~* &* +@all")
    broker.history.append_event("a", b"x")
    server.ask("ACL", "SETUSER", "shop", "-publish")
    with pytest.raises(BrokerUnavailable):
        broker.history.append_event("a", b"y")
    assert [record.body for record in root().history.read_events(["a"], 0, ALL, 10).records] == [b"x"]


def test_just_the_rights_that_docs_name(user, recorder):
    broker = user("~{ssemux}:* resetchannels &{ssemux}@* +@all -@admin -@dangerous +info", events=600)
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["a"])
    for number in range(700):
        broker.history.append_event("a", b"%d" % number, "key" if number % 3 == 0 else None)
    # The first may have come while the streams were read, and may have been replaced by then.
    until(lambda: recorder.sequences[-1:] == [700], 5, lambda: "these came: %s" % recorder.sequences)
    assert broker.leases.take_user_slot("user:1", 1) and broker.one_time_keys.use_one_time_key("t", 1)
    broker.leases.announce_oldest_slot("user:1", 1.0)
    broker.reports.write_report({})
    broker.presence.announce_presence({("a", "1"): 1}, 60.0)
    assert (
        broker.presence.get_presence("a") == {"1": 1}
        and broker.reports.read_reports()
        and broker.leases.find_oldest_slot_holder("user:1")
    )


def test_two_users_one_without_the_right_to_info(user, root):
    """A user without the right to INFO takes another server for the same one."""
    blind, seeing = user("~* &* +@all -info"), root()
    for number in range(50):
        broker = (blind, seeing)[number % 2]
        assert broker.history.append_event("a", b"x").sequence == number + 1
    assert seeing.history.read_events(["a"], 0, ALL, 100).missing == []


def test_a_restart_is_detected_by_a_user_with_the_right(running, opened):
    server = running(RedisServer())
    server.ask("ACL", "SETUSER", "shop", "on", ">s3cret", "~*", "&*", "+@all", "-info")
    blind = open_broker("redis://shop:s3cret@127.0.0.1:%d/0" % server.port)
    seeing = open_broker(server.url)
    for broker in (blind, seeing):
        opened(broker)
        broker.history.append_event("a", b"x")
    server.restart()
    server.ask("ACL", "SETUSER", "shop", "on", ">s3cret", "~*", "&*", "+@all", "-info")
    assert blind.history.append_event("a", b"x").sequence == 3
    assert seeing.history.append_event("a", b"x").sequence > 1000


def test_an_old_server_that_quotes_a_command_is_not_quoted(opened, running):
    server = running(RedisServer(aof=False, args=["--rename-command", "EVAL", ""]))
    broker = open_broker(server.url)
    opened(broker)
    with pytest.raises(BrokerUnavailable) as raised:
        broker.history.append_event("secret", b"secret")
    assert "unknown command" in str(raised.value)
    assert "secret" not in str(raised.value) and "args" not in str(raised.value)
