"""Redis that takes no writes now, for example at its maxmemory; and the bounds of the memory that it uses."""

from __future__ import annotations

import itertools
import logging
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.errors import BrokerUnavailable
from tests.brokers.conftest import make_older
from tests.harness.redis import RedisServer
from tests.harness.waiting import until

ALL = 10**9
BODY = b"x" * 10_000


@pytest.fixture
def full(running, opened):
    """full(): a broker on a server at its maxmemory, which holds only young events."""

    def make(body=BODY, **history):
        server = running(RedisServer(aof=False, args=["--maxmemory", "12mb", "--maxmemory-policy", "noeviction"]))
        broker = open_broker(server.url, HistoryLimits(**history))
        opened(broker)
        broker.server = server
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            for _ in range(3000):
                broker.history.append_event("a", body)
        return broker

    return make


def test_the_error_of_a_full_server_says_what_to_do(full):
    broker = full()
    with pytest.raises(BrokerUnavailable) as raised:
        broker.history.append_event("a", b"secret" * 2000)
    assert "raise maxmemory, or lower SSEMUX_HISTORY_BYTES or SSEMUX_HISTORY_SECONDS" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_full_server_takes_events_again_once_its_history_is_old(full):
    broker = full(seconds=100.0)
    head = broker.history.get_newest_cursor().sequence
    broker.server.ask("CONFIG", "SET", "maxmemory", "0")
    make_older(broker.server, broker.server.url, 1000)
    broker.server.ask("CONFIG", "SET", "maxmemory", "12mb")
    for number in range(50):
        assert broker.history.append_event("b", BODY).sequence == head + 1 + number
    assert broker.history.read_events(["a"], 0, ALL, 10).missing == ["a"]


def test_what_is_kept_for_delivery_makes_room_in_a_full_server(full):
    """All of it is over a limit."""
    broker = full(10 * BODY, seconds=1.0)  # large ones, so that it is full before the oldest has this age
    head = broker.history.get_newest_cursor().sequence
    time.sleep(1.2)  # the age
    for number in range(50):
        assert broker.history.append_event("b", BODY).sequence == head + 1 + number


def test_what_other_channels_keep_for_delivery_makes_room_in_a_full_server(running, opened):
    server = running(RedisServer(aof=False))
    broker = open_broker(server.url, HistoryLimits(events=5))
    opened(broker)
    for number in range(300):
        broker.history.append_event("a%d" % (number % 2), BODY)
    server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.ask("CONFIG", "SET", "maxmemory", str(int(server.info("memory")["used_memory"]) - 100_000))
    for number in range(50):
        assert broker.history.append_event("b", BODY).sequence == 301 + number
    assert len(broker.history.read_events(["a0", "a1"], 0, ALL, 100).records) == 10


def test_a_full_server_does_not_grow(full):
    broker = full(seconds=100.0)
    used = int(broker.server.info("memory")["used_memory"])
    accepted = 0
    for _ in range(100):
        try:
            broker.history.append_event("b", BODY)
            accepted += 1
        except BrokerUnavailable as error:
            assert "maxmemory" in str(error)
        time.sleep(0.01)  # marks of the clock are as far apart
    assert accepted < 10, "Redis makes room for a few at most, when it shrinks the buffers of its connections"
    assert int(broker.server.info("memory")["used_memory"]) < used + 10 * len(BODY)


def test_a_full_server_takes_events_again_once_it_keeps_fewer_bytes(full, opened):
    broker = full()
    smaller = open_broker(broker.server.url, HistoryLimits(size=1_000_000))
    opened(smaller)
    for _ in range(50):
        smaller.history.append_event("b", BODY)
    assert smaller.get_figures()["bytes"] <= 1_000_000


def test_a_full_server_takes_revocations_leases_and_reports(full):
    broker = full()
    broker.history.append_event("ssemux.control", b"{}")
    assert [broker.leases.take_user_slot("user:1", 1), broker.leases.take_user_slot("user:1", 1)] == [True, False]
    assert broker.one_time_keys.use_one_time_key("ticket:1", 30) and not broker.one_time_keys.use_one_time_key(
        "ticket:1", 30
    )
    broker.reports.write_report({"streams": 1})
    assert len(broker.reports.read_reports()) == 1
    broker.presence.announce_presence({("a", "1"): 1}, 60.0)
    assert broker.presence.get_presence("a") == {"1": 1}


def test_a_full_server_that_restarts_still_answers(running, opened):
    server = running(RedisServer(args=["--maxmemory", "12mb"]))
    broker = open_broker(server.url)
    opened(broker)
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        for _ in range(3000):
            broker.history.append_event("a", BODY)
    before = broker.history.get_newest_cursor()
    server.restart()
    after = broker.history.get_newest_cursor()
    assert after.epoch == before.epoch and after.sequence > before.sequence
    assert broker.history.read_events(["a"], 0, 10**17, 10).records


@pytest.fixture(params=["MISCONF", "NOREPLICAS"])
def unwritable(request, running, opened, tmp_path):
    """A broker on a server that takes no writes, and a function that lets it take writes again."""
    server = running(RedisServer(aof=False, args=["--dbfilename", "none.rdb"]))
    broker = open_broker(server.url)
    opened(broker)
    broker.history.append_event("a", b"x")
    if request.param == "NOREPLICAS":
        server.ask("CONFIG", "SET", "min-replicas-to-write", "1")
        mend = ["CONFIG", "SET", "min-replicas-to-write", "0"]
    else:
        server.ask("CONFIG", "SET", "save", "3600 1")
        (server.folder / "none.rdb").mkdir()  # so a snapshot fails
        server.ask("BGSAVE")
        until(lambda: "err" in server.info("persistence")["rdb_last_bgsave_status"], 5, "the snapshot did not fail")
        mend = ["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]
    broker.server, broker.mend = server, lambda: server.ask(*mend)
    return broker


def test_streams_are_let_in_while_the_server_takes_no_writes(unwritable, opened, caplog):
    broker = unwritable
    with pytest.raises(BrokerUnavailable):
        broker.history.append_event("a", b"y")
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        assert [broker.leases.take_user_slot("user:1", 2) for _ in range(3)] == [True, True, False]
    assert caplog.text.count("counts only the streams of this worker") == 1
    assert [record.body for record in broker.history.read_events(["a"], 0, ALL, 10).records] == [b"x"]
    broker.history.subscribe_channels(["a"])
    broker.mend()
    broker.leases.renew_leases()
    other = open_broker(broker.server.url)
    opened(other)
    assert not other.leases.take_user_slot("user:1", 2)


# -- bytes -------------------------------------------------------------------


def test_the_bytes_of_all_channels_are_bounded_and_the_oldest_go_first(redis):
    broker = redis(size=100_000)
    for number in range(40):
        broker.history.append_event("ab"[number % 2], BODY)
        assert broker.get_figures()["bytes"] <= 100_000
    page = broker.history.read_events(["a", "b"], 0, ALL, 100)
    assert [record.sequence for record in page.records] == list(range(31, 41))
    assert sorted(page.missing) == ["a", "b"]
    assert broker.history.read_events(["a", "b"], 30, ALL, 100).missing == []


def test_a_large_event_pushes_out_many_small_ones(redis):
    broker = redis(size=100_000)
    for number in range(300):
        broker.history.append_event("c%d" % (number % 7), b"x" * 300)
    broker.history.append_event("large", b"x" * 90_000)
    assert broker.get_figures()["bytes"] <= 100_000
    assert len(broker.history.read_events(["large"], 0, ALL, 10).records) == 1


def test_latest_events_are_counted_once(redis):
    broker = redis()
    for _ in range(20):
        broker.history.append_event("a", BODY, "key")
    assert (broker.get_figures()["bytes"], broker.get_figures()["events"]) == (len(BODY), 1)


def test_own_channels_have_limits_of_their_own(redis):
    broker = redis(events=5, size=50_000, seconds=0.1)
    for _ in range(30):
        broker.history.append_event("ssemux.control", b"order")
        broker.history.append_event("a", BODY)
    time.sleep(0.2)
    broker.history.append_event("a", BODY)
    own = broker.history.read_events(["ssemux.control"], 0, ALL, 100)
    assert len(own.records) == 30 and own.missing == []


@pytest.mark.parametrize("events", [5, 40])
def test_what_is_over_the_number_of_events_is_never_read(redis, events):
    broker = redis(events=events)
    for number in range(1, 101):
        broker.history.append_event("a", b"x")
        kept = broker.history.read_events(["a"], 0, ALL, 1000)
        assert [record.sequence for record in kept.records] == list(range(max(1, number - events + 1), number + 1))
        assert kept.missing == (["a"] if number > events else [])


def test_what_is_too_old_is_never_read(redis):
    broker = redis(seconds=0.5)
    broker.history.append_event("a", b"old")
    time.sleep(0.6)  # the age
    broker.history.append_event("b", b"new")
    assert broker.history.read_events(["a", "b"], 0, ALL, 10) == (
        broker.history.read_events(["b"], 0, ALL, 10).records,
        ["a"],
        True,
    )
    time.sleep(1.6)  # the age, and the second that the newest event is kept
    assert broker.history.read_events(["a", "b"], 0, ALL, 10) == ([], ["a", "b"], True)


# -- a day of use ------------------------------------------------------------


def test_memory_is_bounded_whatever_channels_and_users_come(redis, shared_redis, redis_url):
    """Thirty rounds of new channels, users and processes, each as if an hour had passed."""
    prefix = "{%s}:" % redis_url.partition("prefix=")[2]
    broker = redis(seconds=3600.0)
    counts = []
    for hour in range(30):
        gone = open_broker(redis_url)
        for number in range(20):
            name = "%d:%d" % (hour, number)
            broker.history.append_event("c" + name, b"x")
            broker.history.append_event("c" + name, b"x", "key")
            for each in (broker, gone):
                assert each.leases.take_user_slot("user:" + name, 1) or each is gone
            broker.leases.announce_oldest_slot("user:" + name, 1.0)
            broker.one_time_keys.use_one_time_key("ticket:" + name, 30)
            broker.presence.announce_presence({("c" + name, "1"): 1}, 60.0)
            broker.leases.release_user_slot("user:" + name)
            broker.leases.announce_oldest_slot("user:" + name, None)
            broker.presence.announce_presence({("c" + name, "1"): 0}, 60.0)
        gone.reports.write_report({})
        gone.presence.announce_presence({("c%d" % hour, "1"): 1}, 60.0)
        gone.close()
        until(lambda: broker.get_figures()["held"] == 0, 5, lambda: str(broker.get_figures()))
        make_older(shared_redis, redis_url, 3700)
        counts.append(len(shared_redis.ask("KEYS", prefix + "*")))
    assert max(counts[20:]) <= max(counts[3:10]), counts
    left = [key[len(prefix) :] for key in shared_redis.ask("KEYS", prefix + "*")]
    kinds = {kind: len(list(names)) for kind, names in itertools.groupby(sorted(left), lambda key: key[:2])}
    assert kinds.get("h:", 0) + kinds.get("o:", 0) + kinds.get("p:", 0) + kinds.get("q:", 0) == 0, kinds
