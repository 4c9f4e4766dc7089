"""Events of which only the newest counts, on every engine: what is kept, what is missing, what is delivered."""

from __future__ import annotations

import random
import sqlite3

import pytest

from flask_ssemux.brokers import Record, SubscriptionStart
from flask_ssemux.brokers.contract.constants import LIVE_EVENTS
from flask_ssemux.brokers.sqlite import schema

ALL = 10**9


def kept(broker, *channels, after=0):
    page = broker.history.read_events(channels, after, ALL, 1000)
    assert page.missing == [] and page.is_whole
    return [(record.sequence, record.body) for record in page.records]


def test_only_the_newest_of_its_channel_and_key_is_kept(broker):
    for number in range(3):
        broker.history.append_event("a", b"ordinary %d" % number)
        broker.history.append_event("a", b"p %d" % number, "progress")
        broker.history.append_event("a", b"s %d" % number, "Zustand ä b")
        broker.history.append_event("b", b"other %d" % number, "progress")
    assert kept(broker, "a") == [
        (1, b"ordinary 0"), (5, b"ordinary 1"), (9, b"ordinary 2"), (10, b"p 2"), (11, b"s 2")
    ]  # fmt: skip
    assert broker.history.read_events(["b"], 0, ALL, 10).records == [Record(12, "b", b"other 2", "progress")]
    assert broker.get_figures()["events"] == 6 and broker.get_figures()["channels"] == 2


def test_what_is_superseded_is_not_missing_from_any_place(broker):
    for number in range(20):
        broker.history.append_event("a", b"%d" % number, "progress")
    for after in range(20):
        assert kept(broker, "a", after=after) == [(20, b"19")]
    assert kept(broker, "a", after=20) == []


def test_a_number_is_given_once_though_the_newest_event_goes(broker):
    assert [broker.history.append_event("a", b"x", "progress").sequence for _ in range(5)] == [1, 2, 3, 4, 5]
    assert broker.history.get_newest_cursor().sequence == 5


def test_whoever_wants_a_channel_is_told_its_latest_events(broker, ear):
    broker.history.start_delivery(ear.listener)
    assert broker.history.subscribe_channels(["a"]) == SubscriptionStart(0, [])
    for number in range(2):
        broker.history.append_event("a", b"x")
        broker.history.append_event("a", b"p %d" % number, "progress")
        broker.history.append_event("a", b"s %d" % number, "state")
        broker.history.append_event("b", b"b %d" % number, "progress")
    a, b = [Record(6, "a", b"p 1", "progress"), Record(7, "a", b"s 1", "state")], [Record(8, "b", b"b 1", "progress")]
    assert broker.history.subscribe_channels(["a", "quiet"]) == SubscriptionStart(8, a)
    assert broker.history.subscribe_channels(["b", "a"]) == SubscriptionStart(8, a + b)


def test_they_are_delivered_in_order_and_the_newest_always(broker, ear):
    broker.history.start_delivery(ear.listener)
    broker.history.subscribe_channels(["a"])
    for number in range(200):
        broker.history.append_event("a", b"%d" % number, "progress")
    broker.history.append_event("a", b"the end")
    while not ear.records or ear.records[-1].body != b"the end":
        ear.wait(len(ear.records) + 1)
    assert ear.sequences == sorted(set(ear.sequences)) and ear.gaps == []
    assert ear.records[-2] == Record(200, "a", b"199", "progress")


def test_one_that_is_trimmed_by_count_is_missing(make):
    broker = make(events=10)
    broker.history.append_event("a", b"p", "progress")
    for _ in range(40):
        broker.history.append_event("a", b"x")
    assert broker.history.subscribe_channels(["a"]).latest == []
    assert broker.history.read_events(["a"], 0, ALL, 100).missing == ["a"]
    broker.history.append_event("a", b"q", "progress")
    assert [record.body for record in broker.history.subscribe_channels(["a"]).latest] == [b"q"]


def test_they_count_once_however_often_they_come(make):
    """Trimming by count goes by what is kept: a bar that moves does not cost the channel its other events."""
    broker = make(events=10)
    for number in range(9):
        broker.history.append_event("a", b"%d" % number)
    for number in range(100):
        broker.history.append_event("a", b"p %d" % number, "progress")
    assert [body for _, body in kept(broker, "a")] == [b"%d" % n for n in range(9)] + [b"p 99"]


def test_one_that_is_too_old_is_missing(make, travel):
    broker = make(seconds=1000.0)
    broker.history.append_event("a", b"p", "progress")
    travel(broker, 2000.0)
    broker.history.append_event("b", b"x")
    broker.history.append_event("b", b"x")
    assert broker.history.subscribe_channels(["a"]).latest == []
    assert broker.history.read_events(["a"], 0, ALL, 10).missing == ["a"]


@pytest.mark.parametrize("seed", range(3))
def test_whoever_missed_nothing_has_everything(make, seed):
    """Random histories with trimming, read from every place: all that is ordinary, and the newest of each key."""
    chance, broker, said = random.Random(seed), make(events=20), []
    for number in range(150):
        channel, key = chance.choice("ab"), chance.choice([None, None, "p", "q"])
        said.append(
            Record(broker.history.append_event(channel, b"%d" % number, key).sequence, channel, b"%d" % number, key)
        )
    newest = {(r.channel, r.latest): r for r in said if r.latest}
    complete = 0
    for after in range(0, 151, 3):
        page = broker.history.read_events(["a", "b"], after, ALL, 1000)
        expected = [
            r for r in said if r.sequence > after and r.channel not in page.missing
            and (r.latest is None or newest[r.channel, r.latest] is r)
        ]  # fmt: skip
        assert [record for record in page.records if record.channel not in page.missing] == expected
        complete += not page.missing
    assert complete > 5
    assert broker.history.subscribe_channels(["a", "b"]).latest == sorted(
        r for r in newest.values() if r in page_of(broker)
    )


def page_of(broker):
    return broker.history.read_events(["a", "b"], 0, ALL, 1000).records


# -- quirks -------------------------------------------------------------------


def test_a_file_of_before_is_brought_up_to_date(sqlite, sqlite_url):
    old = sqlite3.connect(sqlite_url[len("sqlite:///") :], isolation_level=None)
    old.executescript(schema._SCHEMA)
    old.execute("INSERT INTO life VALUES ('aaaaaaaa', '', 0, 3600, 10000)")
    old.execute("INSERT INTO events VALUES (7, 'a', 4102444800, x'78')")
    old.execute("INSERT INTO channels VALUES ('a', 1, 0)")
    old.execute("PRAGMA application_id = %d" % schema._APPLICATION_ID)
    old.execute("PRAGMA user_version = %d" % schema._VERSION)
    old.close()
    broker = sqlite()
    assert broker.history.read_events(["a"], 0, ALL, 10).records == [Record(7, "a", b"x")]
    assert [broker.history.append_event("a", b"p", "progress").sequence for _ in range(3)] == [8, 9, 10]
    assert kept(broker, "a") == [(7, b"x"), (10, b"p")]
    assert broker.presence.announce_presence({("a", ""): 1}, 10.0) is False and broker.presence.get_presence("a") == {
        "": 1
    }


def test_what_was_trimmed_leaves_no_key_behind(redis, shared_redis):
    """It is kept for delivery until there are as many newer events as that needs."""
    broker = redis(events=10)
    broker.history.append_event("a", b"p", "progress")
    for _ in range(LIVE_EVENTS):
        broker.history.append_event("a", b"x")
    assert shared_redis.ask("EXISTS", "{%s}:l:a" % broker._store.address.prefix) == 0


def test_a_life_that_was_lost_leaves_no_key_behind(redis, shared_redis):
    """Its numbers come again, as those of other events."""
    broker = redis()
    broker.history.append_event("a", b"p", "progress")
    shared_redis.ask("DEL", "{%s}:life" % broker._store.address.prefix)
    assert broker.history.append_event("a", b"ordinary").sequence == 1
    assert broker.history.subscribe_channels(["a"]) == SubscriptionStart(1, [])


def test_nothing_is_missed_while_the_subscription_is_cut(redis, shared_redis, ear):
    broker, publisher = redis(), redis()
    broker.history.start_delivery(ear.listener)
    broker.history.subscribe_channels(["a"])
    for turn in range(4):
        shared_redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
        for number in range(20):
            publisher.history.append_event("a", b"p %d" % number, "progress")
            publisher.history.append_event("a", b"%d" % (turn * 20 + number))
    publisher.history.append_event("a", b"the end")
    while not ear.records or ear.records[-1].body != b"the end":
        ear.wait(len(ear.records) + 1)
    ordinary = [record.body for record in ear.records if record.latest is None]
    assert ordinary == [b"%d" % number for number in range(80)] + [b"the end"]
    assert [record.body for record in ear.records if record.latest][-1] == b"p 19"
    assert ear.sequences == sorted(set(ear.sequences)) and ear.gaps == ear.renewals == []
