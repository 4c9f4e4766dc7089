"""Files of older versions get the tables and columns that they lack."""

from __future__ import annotations

import sqlite3

from flask_ssemux.brokers import Record
from flask_ssemux.brokers.sqlite import schema
from tests.brokers.suites.latest import kept

ALL = 10**9


def test_an_older_file_gets_all_tables_and_columns(sqlite, sqlite_url):
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


def test_a_file_without_one_time_keys_gets_their_table(sqlite, sqlite_url):
    sqlite().history.append_event("a", b"x")
    with sqlite3.connect(sqlite_url[len("sqlite:///") :]) as file:
        file.execute("DROP TABLE claims")
    file.close()
    assert [sqlite().one_time_keys.use_one_time_key("a", 30), sqlite().one_time_keys.use_one_time_key("a", 30)] == [
        True,
        False,
    ]


def test_expired_one_time_keys_are_found_by_an_index(sqlite, sqlite_url):
    sqlite().history.get_newest_cursor()
    file = sqlite3.connect(sqlite_url[len("sqlite:///") :])
    plan = file.execute("EXPLAIN QUERY PLAN DELETE FROM claims WHERE until <= 5").fetchall()
    file.close()
    assert "USING COVERING INDEX claims_until" in plan[0][3] or "USING INDEX claims_until" in plan[0][3], plan


def test_a_file_without_applications_gets_their_table(sqlite, sqlite_url):
    sqlite().history.append_event("a", b"x")
    with sqlite3.connect(sqlite_url[len("sqlite:///") :]) as file:
        file.execute("DROP TABLE applications")
    file.close()
    assert sqlite().reports.register_application("shop", "") == []


def test_a_file_without_work_gets_its_tables(sqlite, sqlite_url):
    sqlite().history.append_event("a", b"x")
    with sqlite3.connect(sqlite_url[len("sqlite:///") :]) as file:
        for table in ("work", "wants", "runs", "fences"):
            file.execute("DROP TABLE " + table)
    file.close()
    broker = sqlite()
    (lease,) = broker.work.take_work(["feed:a"])
    assert broker.work.keep_work([lease], ["feed:a"])[:3] == ([lease], {"feed:a"}, set())
    assert broker.work.begin_run("x", "{}").fence > lease.fence and "x" in broker.work.read_runs(["x"])
