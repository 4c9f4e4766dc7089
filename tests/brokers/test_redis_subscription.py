"""Channels that a worker is subscribed to again, and which of them it has to read."""

from __future__ import annotations


def test_only_channels_with_news_are_read(redis, ear, monkeypatch):
    broker = redis()
    broker.history.start_delivery(ear.listener)
    broker.history.subscribe_channels(["c%d" % number for number in range(1000)])
    place = broker.history.append_event("c1", b"x").sequence
    broker.history.append_event("c2", b"x")
    broker.history.append_event("c3", b"x")
    assert broker.has_news(place) == {"c2", "c3"}
    assert broker.has_news(place + 2) == set()


def test_news_of_many_channels_are_found_a_part_at_a_time(redis, monkeypatch):
    from flask_ssemux.brokers.redis import broker as module

    monkeypatch.setattr(module, "NEWS", 7)
    broker = redis()
    for number in range(50):
        broker.history.append_event("c%d" % (number % 30), b"x")
    assert broker.has_news(10) == {"c%d" % (number % 30) for number in range(10, 50)}


def test_what_an_earlier_version_appended_is_not_overlooked(redis, shared_redis, redis_url):
    """It does not list its channels."""
    keys = "{%s}:" % redis_url.partition("?prefix=")[2]
    broker = redis()
    first = broker.history.append_event("a", b"x").sequence
    shared_redis.ask("XADD", keys + "c:b", "%d-0" % (first + 1), "b", "y")
    shared_redis.ask("ZADD", keys + "firsts", first + 1, "b")
    shared_redis.ask("HSET", keys + "life", "sequence", first + 1)
    assert broker.has_news(first) is None
    last = broker.history.append_event("a", b"z").sequence
    assert broker.has_news(first) is None
    assert broker.has_news(last - 1) == {"a"}
    broker.history.append_event("a", b"z")
    assert broker.has_news(last) == {"a"}
