"""Channels by the hundred thousand: delivering an event costs what it finds, not what was ever known."""

from __future__ import annotations

import sqlite3
import time

from flask_ssemux.brokers import History, Listener, open_broker
from flask_ssemux.brokers import memory_history as memory
from tests.harness.waiting import until

CHANNELS = 300_000


def cost_of_delivery(broker, count):
    """Seconds of CPU for each of so many superseded events, appended and delivered one by one."""
    heard, told = [], []
    broker.listen(Listener(heard.extend, lambda *gap: told.append(gap), told.append, told.append, lambda: None))
    for _ in range(count // 10):  # warm
        broker.append("job", b"x", "progress")
    started = time.process_time()
    for number in range(count):
        broker.append("job", b"%d" % number, "progress")
        if number % 3 == 2:  # so that each look finds a gap in the numbers
            until(lambda number=number: heard and heard[-1].body == b"%d" % number, 5, "it was not delivered")
    assert told == []
    return (time.process_time() - started) / count


def test_sqlite(tmp_path):
    url = "sqlite:///%s" % (tmp_path / "x.sqlite3")
    broker = open_broker(url, History())
    before = cost_of_delivery(broker, 300)
    broker.close()
    other = sqlite3.connect(str(tmp_path / "x.sqlite3"))
    rows = (("user:%d" % number, number % 2, number % 1000) for number in range(CHANNELS))
    with other:
        other.executemany("INSERT INTO channels VALUES (?, ?, ?)", rows)
    other.close()
    broker = open_broker(url, History())
    after = cost_of_delivery(broker, 300)
    broker.close()
    assert after < before * 3 + 0.0005, (before, after)


def test_memory(monkeypatch):
    monkeypatch.setattr(memory, "FLOORS", 10 * CHANNELS)  # none is forgotten
    broker = open_broker("memory:", History())
    before = cost_of_delivery(broker, 300)
    broker.close()
    broker = open_broker("memory:", History())
    broker._events._floors = {"user:%d" % number: 0 for number in range(CHANNELS)}
    after = cost_of_delivery(broker, 300)
    broker.close()
    assert after < before * 3 + 0.0005, (before, after)
