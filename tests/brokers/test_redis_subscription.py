"""Channels to which a worker subscribes again, and which of them it must read."""

from __future__ import annotations

from flask_ssemux.brokers.redis import reading
from flask_ssemux.brokers.redis.reading import list_news


def test_only_channels_with_news_are_read(redis, recorder, monkeypatch):
    broker = redis()
    broker.history.start_delivery(recorder.listener)
    broker.history.subscribe_channels(["c%d" % number for number in range(1000)])
    place = broker.history.append_event("c1", b"x").sequence
    broker.history.append_event("c2", b"x")
    broker.history.append_event("c3", b"x")
    assert list_news(broker._store, place) == {"c2", "c3"}
    assert list_news(broker._store, place + 2) == set()


def test_news_of_many_channels_are_found_a_part_at_a_time(redis, monkeypatch):
    monkeypatch.setattr(reading, "NEWS", 7)
    broker = redis()
    for number in range(50):
        broker.history.append_event("c%d" % (number % 30), b"x")
    assert list_news(broker._store, 10) == {"c%d" % (number % 30) for number in range(10, 50)}


def test_what_an_earlier_version_appended_is_not_overlooked(redis, shared_redis, redis_url):
    """An earlier version does not list its channels."""
    keys = "{%s}:" % redis_url.partition("?prefix=")[2]
    broker = redis()
    first = broker.history.append_event("a", b"x").sequence
    shared_redis.ask("XADD", keys + "c:b", "%d-0" % (first + 1), "b", "y")
    shared_redis.ask("ZADD", keys + "firsts", first + 1, "b")
    shared_redis.ask("HSET", keys + "life", "sequence", first + 1)
    assert list_news(broker._store, first) is None
    last = broker.history.append_event("a", b"z").sequence
    assert list_news(broker._store, first) is None
    assert list_news(broker._store, last - 1) == {"a"}
    broker.history.append_event("a", b"z")
    assert list_news(broker._store, last) == {"a"}
