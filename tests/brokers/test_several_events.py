"""Several events in one append that fails: none of them is stored, and none is delivered. By engine."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import HistoryLimits, NewEvent, Record, open_broker
from flask_ssemux.brokers.redis import scripts
from flask_ssemux.errors import BrokerUnavailable
from tests.brokers.suites.several import make_events
from tests.harness.redis import RedisServer

ALL = 10**17


@pytest.fixture
def watched(recorder):
    """watched(broker): the broker, whose events on a and b are recorded."""

    def watch(broker):
        broker.history.start_delivery(recorder.listener)
        broker.history.subscribe_channels(["a", "b"])
        return broker

    return watch


def check_nothing_happened(broker, recorder, others=0):
    """The next event is the first on these channels that is stored and delivered.

    :param others: events on other channels, one on each.
    """
    cursor = broker.history.append_event("a", b"next")
    record = Record(cursor.sequence, "a", b"next")
    assert recorder.wait(1) == [record] and recorder.gaps == []
    page = broker.history.read_events(["a", "b"], 0, ALL, 10)
    assert page.records == [record] and page.missing == []
    assert (broker.get_figures()["events"], broker.get_figures()["channels"]) == (1 + others, 1 + others)
    return cursor.sequence


# -- Redis -------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with RedisServer(aof=False) as made:
        yield made


@pytest.fixture
def root(server, opened):
    server.ask("FLUSHALL")
    broker = open_broker(server.url, HistoryLimits())
    opened(broker)
    return broker


@pytest.mark.parametrize("channels", ["ab", "ba", "aab"])
def test_redis_user_without_the_right_to_one_of_the_channels(server, root, opened, watched, recorder, channels):
    server.ask("ACL", "SETUSER", "shop", "reset", "on", ">s3cret", "~*", "resetchannels", "&{ssemux}@0:a", "+@all")
    broker = open_broker("redis://shop:s3cret@127.0.0.1:%d/0" % server.port)
    opened(broker)
    watched(root)
    with pytest.raises(BrokerUnavailable, match="(?i)publish.*docs/redis.md"):
        broker.history.append_events(make_events(*channels))
    assert check_nothing_happened(root, recorder) > len(channels)
    assert [cursor.sequence for cursor in broker.history.append_events(make_events("a", "a"))]


def test_redis_key_of_another_program_in_place_of_a_channel(server, root, watched, recorder):
    watched(root)
    server.ask("SET", "{ssemux}:c:b", "x")
    with pytest.raises(BrokerUnavailable, match="WRONGTYPE"):
        root.history.append_events(make_events("a", "b"))
    server.ask("DEL", "{ssemux}:c:b")
    check_nothing_happened(root, recorder)


def test_redis_that_is_full(running, opened, watched, recorder):
    server = running(RedisServer(aof=False, args=["--maxmemory-policy", "noeviction"]))
    broker = open_broker(server.url)
    opened(watched(broker))
    broker.history.append_event("c", b"x")  # the first append of a process tries rights, which lets its writes through
    server.ask("CONFIG", "SET", "maxmemory", "1mb")  # less than an empty server uses
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        broker.history.append_events(make_events("a", "b"))
    server.ask("CONFIG", "SET", "maxmemory", "0")
    check_nothing_happened(broker, recorder, others=1)


def test_redis_call_that_is_repeated_because_its_answer_was_lost(redis, watched, recorder):
    broker = watched(redis())
    history, store = broker.history, broker._store
    values = [value for event in make_events("a", "b", "a") for value in (event.channel, event.body, "")]
    call = [scripts.APPEND_EVENTS, store.announced, history._process_name, 7, store.make_token(), 0, *values]
    assert [int(store.call(*call)[1]) for _ in range(3)] == [3, 3, 3]
    assert [record.sequence for record in history.read_events(["a", "b"], 0, ALL, 10).records] == [1, 2, 3]
    history.append_event("a", b"next")
    assert [record.sequence for record in recorder.wait(4)] == [1, 2, 3, 4]


# -- SQLite ------------------------------------------------------------------

#: SQLite refuses it, after the events before it were added in the same transaction.
UNSTORABLE = NewEvent("b", "\ud800")


def test_sqlite_statement_that_fails_in_between(sqlite, watched, recorder):
    broker = watched(sqlite())
    with pytest.raises(UnicodeEncodeError):
        broker.history.append_events([NewEvent("a", b"1", "p"), NewEvent("a", b"2"), UNSTORABLE])
    assert check_nothing_happened(broker, recorder) == 1


def test_sqlite_leap_is_not_forgotten_with_the_events_that_should_have_made_it(sqlite, sqlite_url):
    """A file that was closed gives its next sequence far ahead: an older copy of it would not know the last ones."""
    before = open_broker(sqlite_url, HistoryLimits())
    last = before.history.append_event("a", b"x").sequence
    before.close()
    broker = sqlite()
    with pytest.raises(UnicodeEncodeError):
        broker.history.append_events([NewEvent("a", b"1"), NewEvent("a", b"2"), UNSTORABLE])
    first, second = broker.history.append_events(make_events("a", "b"))
    assert first.sequence > last + 1_000_000 and second.sequence == first.sequence + 1
