"""The limits of the history are exact: what is over one is never read again; what is live needs no history.

Of the engines that deliver from their history. Redis has tests of its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.memory import kept_events
from flask_ssemux.brokers.sqlite import trimming
from flask_ssemux.publishing.revocation import CHANNEL as OWN
from tests.harness.waiting import until

ALL = 10**17

KB = b"x" * 1000


def kept(broker, *channels):
    return [record.sequence for record in broker.history.read_events(channels, 0, ALL, 100_000).records]


def missing(broker, channel, after=0):
    return bool(broker.history.read_events([channel], after, ALL, 1).missing)


def test_the_limit_of_events_is_exact_after_each_append(make_tailing):
    broker = make_tailing(events=5)
    for number in range(1, 200):
        broker.history.append_event("a", b"x")
        assert kept(broker, "a") == list(range(max(1, number - 4), number + 1))
        assert missing(broker, "a") == (number > 5)
    assert not missing(broker, "a", 194) and missing(broker, "a", 193)


def test_the_limit_of_age_is_exact_though_nobody_appends(make_tailing, travel):
    broker = make_tailing(seconds=100.0)
    for _ in range(3):
        broker.history.append_event("a", b"old")
    travel(broker, 60.0)
    broker.history.append_event("a", b"newer")
    broker.history.append_event("b", b"newest")
    assert kept(broker, "a") == [1, 2, 3, 4]
    travel(broker, 60.0)
    assert kept(broker, "a") == [4]
    assert missing(broker, "a", 2) and not missing(broker, "a", 3) and not missing(broker, "b")


def test_the_limit_of_bytes_is_exact_and_takes_the_oldest_of_all_channels(make_tailing):
    broker = make_tailing(size=65536)
    broker.history.append_event("before", KB)
    for number in range(2, 200):
        broker.history.append_event("c%d" % (number % 3), KB)
        all_kept = kept(broker, "before", "c0", "c1", "c2")
        assert all_kept == list(range(max(1, number - 64), number + 1))
    assert missing(broker, "before") and missing(broker, "c0")
    assert not missing(broker, "before", 1) and not missing(broker, "never")
    broker.history.append_event("a", b"y" * 70_000)  # more than the history may have; the newest is kept all the same
    assert kept(broker, "c0", "c1", "c2", "a") == [200]


def test_what_has_a_newer_one_takes_no_bytes(make_tailing):
    broker = make_tailing(size=65536)
    broker.history.append_event("quiet", b"x")
    for number in range(1000):
        broker.history.append_event("progress", KB, "p%d" % (number % 3))
    assert not missing(broker, "quiet") and kept(broker, "quiet") == [1]


def test_latest_events_that_are_over_a_limit_are_not_given_to_new_subscribers(make_tailing, travel):
    broker = make_tailing(events=3, seconds=100.0)
    broker.history.append_event("a", b"p", "p")
    broker.history.append_event("b", b"p", "p")
    for _ in range(3):
        broker.history.append_event("a", b"x")
    assert [record.channel for record in broker.history.subscribe_channels(["a", "b"]).latest] == ["b"]
    travel(broker, 200.0)
    assert broker.history.subscribe_channels(["a", "b"]).latest == []


def test_the_extensions_own_channels_have_limits_of_their_own(make_tailing, travel):
    broker = make_tailing(events=5, seconds=100.0, size=65536)
    for _ in range(300):
        broker.history.append_event(OWN, b"order")
        broker.history.append_event("a", KB)
    travel(broker, 3000.0)
    broker.history.append_event("a", b"x")
    assert len(kept(broker, OWN)) == 300 and not missing(broker, OWN)
    travel(broker, 1000.0)
    assert kept(broker, OWN) == [] and missing(broker, OWN)


@pytest.mark.parametrize("channel", ["a", OWN])
def test_what_is_live_needs_no_history(make_tailing, ear, channel):
    broker = make_tailing(events=5, seconds=0.0, size=65536)
    broker.history.start_delivery(ear.listener)
    broker.history.subscribe_channels([channel])
    for _ in range(5):
        for _ in range(60):
            broker.history.append_event(channel, KB)
        until(lambda: len(ear.records) % 60 == 0, 5, "a burst did not come whole")
    ear.wait(300)
    assert ear.sequences == list(range(1, 301)) and ear.gaps == []


def test_a_gap_in_channels_that_nobody_knows_any_more_is_told_to_all(make_tailing, ear, monkeypatch):
    for name, value in (("LIVE_SECONDS", 0.0), ("LIVE_EVENTS", 1)):
        monkeypatch.setattr(constants, name, value)
    for module in (trimming, kept_events):
        monkeypatch.setattr(module, "FLOORS", 50)
    monkeypatch.setattr(trimming, "FLOORS_SECONDS", 0.0)
    broker = make_tailing(seconds=0.0)
    holds, held = threading.Event(), threading.Event()
    slow = ear.listener._replace(deliver=lambda records: (holds.set(), held.wait(10), ear.records.extend(records)))
    broker.history.start_delivery(slow)
    broker.history.append_event("first", b"x")
    assert holds.wait(10)
    for number in range(500):
        broker.history.append_event("once:%d" % number, b"x")
    held.set()
    until(lambda: ear.renewals, 5, "nothing was told")
    broker.history.append_event("last", b"x")
    until(lambda: ear.records[-1].channel == "last", 5, "delivery does not go on")


def test_limits_that_were_lowered_hold_for_what_was_there_before(sqlite_url, opened):
    first = open_broker(sqlite_url, HistoryLimits())
    for number in range(60):
        first.history.append_event("ab"[number % 2], KB * 2)
    first.close()
    for history, expected in (
        (HistoryLimits(events=5), 10),
        (HistoryLimits(size=65536), 32),
        (HistoryLimits(seconds=0.0), 1),
    ):
        broker = open_broker(sqlite_url, history)
        assert len(kept(broker, "a", "b")) == expected
        broker.close()


def test_the_count_of_bytes_agrees_with_what_is_there(sqlite, travel):
    """Over every way in which an event leaves the history."""
    broker = sqlite(events=30, seconds=100.0, size=65536)
    for number in range(1500):
        latest = "p%d" % (number % 4) if number % 5 == 0 else None
        broker.history.append_event("c%d" % (number % 7), b"x" * (number * 37 % 900), latest)
        if number % 100 == 0:
            travel(broker, 20.0)
    file = broker._store.file
    (total,) = file.read("SELECT total FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
    assert total == file.floors.sum_up(is_anew=True) <= 65536


def test_an_older_version_that_has_the_file_open_too(sqlite, sqlite_url):
    """Its statements are as they were: what it adds is counted, and it lowers no floor."""
    broker = sqlite(events=20, size=65536)
    for _ in range(30):
        broker.history.append_event("a", KB)
    other = sqlite3.connect(sqlite_url[len("sqlite:///") :], isolation_level=None)
    for _ in range(20):
        other.execute("INSERT INTO events (channel, at, body, latest) VALUES ('b', ?, ?, NULL)", (time.time(), KB * 2))
        other.execute(
            "INSERT INTO channels SELECT 'b', 1, forgotten FROM life WHERE true "
            "ON CONFLICT (name) DO UPDATE SET kept = kept + 1"
        )
    for number in range(1, 6):  # it trims by age what is below the floor already
        other.execute("DELETE FROM events WHERE sequence = ?", (number,))
        other.execute("UPDATE channels SET kept = kept - 1, floor = ? WHERE name = 'a'", (number,))
    other.close()
    assert broker.history.get_floors(["a", "b"]).by_channel == {"a": 10, "b": 0}
    for _ in range(20):
        broker.history.append_event("c", KB)
    assert broker._store.file.floors.sum_up() == broker._store.file.floors.sum_up(is_anew=True) <= 65536
    assert kept(broker, "a", "b", "c") == list(range(26, 71))


def test_a_day_of_new_channels_and_users_leaves_the_file_as_large_as_it_was(sqlite, sqlite_url, monkeypatch):
    for name, value in (("LIVE_SECONDS", 0.0), ("LIVE_EVENTS", 10)):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(trimming, "FLOORS", 500)
    monkeypatch.setattr(trimming, "FLOORS_SECONDS", 0.0)
    broker = sqlite(seconds=0.0)
    path, sizes = sqlite_url[len("sqlite:///") :], []
    for number in range(12_000):
        user = "user:%d" % number
        broker.history.append_event(user, b"x" * 50, "p" if number % 2 else None)
        if number % 4 == 0:
            broker.leases.take_user_slot(user, 5)
            broker.leases.announce_oldest_slot(user, 1.0)
            broker.presence.announce_presence({(user, user): 1}, 60.0)
            broker.one_time_keys.use_one_time_key("ticket:%d" % number, 0.0)
            broker.leases.release_user_slot(user)
            broker.presence.announce_presence({(user, user): 0}, 60.0)
        if number % 1000 == 999:
            broker.leases.renew_leases()
            broker._store.file.writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append(os.path.getsize(path))
    assert sizes[-1] <= sizes[3] * 1.1, sizes
    assert broker.leases._taken == {}
