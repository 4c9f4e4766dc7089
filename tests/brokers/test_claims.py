"""Claims where it is hard: several brokers, old files, many of them, an answer that is lost."""

from __future__ import annotations

import sqlite3

from flask_ssemux.brokers import open_broker
from tests.brokers.test_redis import Cutter


def test_what_one_broker_claimed_is_claimed_for_all(make_shared):
    first, second = make_shared(), make_shared()
    assert [
        first.one_time_keys.use_one_time_key("a", 30),
        second.one_time_keys.use_one_time_key("a", 30),
        second.one_time_keys.use_one_time_key("b", 30),
        first.one_time_keys.use_one_time_key("b", 30),
    ] == [
        True,
        False,
        True,
        False,
    ]


def test_a_file_from_before_there_were_claims_takes_them(sqlite, sqlite_url):
    sqlite().history.append_event("a", b"x")
    with sqlite3.connect(sqlite_url[len("sqlite:///") :]) as file:
        file.execute("DROP TABLE claims")
    file.close()
    assert [sqlite().one_time_keys.use_one_time_key("a", 30), sqlite().one_time_keys.use_one_time_key("a", 30)] == [
        True,
        False,
    ]


def test_forgetting_those_that_ran_out_does_not_look_at_all_others(sqlite, sqlite_url):
    sqlite().history.get_newest_cursor()
    file = sqlite3.connect(sqlite_url[len("sqlite:///") :])
    plan = file.execute("EXPLAIN QUERY PLAN DELETE FROM claims WHERE until <= 5").fetchall()
    file.close()
    assert "USING COVERING INDEX claims_until" in plan[0][3] or "USING INDEX claims_until" in plan[0][3], plan


def test_a_claim_whose_answer_is_lost_is_the_askers(redis, shared_redis, redis_url, opened):
    hop = Cutter(shared_redis.port)
    broker = open_broker(redis_url.replace(str(shared_redis.port), str(hop.port)))
    opened(broker)
    broker.history.get_newest_cursor()
    hop.cut_next = True
    assert broker.one_time_keys.use_one_time_key("a", 30)
    assert not hop.cut_next
    assert not broker.one_time_keys.use_one_time_key("a", 30)
    assert not redis().one_time_keys.use_one_time_key("a", 30)
    hop.close()
