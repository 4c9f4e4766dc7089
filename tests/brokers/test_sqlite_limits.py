"""The limits of the history in an SQLite file: lowered, counted, and shared with an older version."""

from __future__ import annotations

import os
import sqlite3
import time

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.sqlite import trimming
from tests.brokers.suites.exact_limits import KB, kept


def test_lowered_limits_hold_for_earlier_events(sqlite_url, opened):
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


def test_the_count_of_bytes_agrees_with_the_events(sqlite, travel):
    """After every way in which an event leaves the history."""
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
    """It runs the statements of its time: the events that it adds are counted, and it lowers no floor."""
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
    for number in range(1, 6):  # by age, it trims events that are already below the floor
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
    assert broker.leases.slots.taken == {}
