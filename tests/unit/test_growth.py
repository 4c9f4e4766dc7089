"""A day's worth of new users and channels: a worker's memory is level, whatever it was asked and told.

``GROWTH=20000`` in the environment makes the day as long as that.
"""

from __future__ import annotations

import gc
import os
import time
import tracemalloc

import pytest

import flask_ssemux
from flask_ssemux import wire
from tests.harness.waiting import until

#: Users before memory counts, and after; each has a channel of its own.
BEFORE = 200
COUNTED = int(os.environ.get("GROWTH", 600))

#: Bytes that one more user may leave behind: less than a channel's name in one map.
EACH = 60

OPTIONS = {
    "SSEMUX_HISTORY_EVENTS": 5,
    "SSEMUX_HISTORY_BYTES": 65_536,
    "SSEMUX_RECHECK": 3600,
    "SSEMUX_OVER_USER_LIMIT": "oldest",
}


@pytest.fixture(params=["sqlite", "redis"])
def app(request, make_app, tmp_path):
    """On stores that keep their events elsewhere; what the memory broker keeps of its own is for the brokers' tests."""
    broker = {
        "sqlite": lambda: "sqlite:///%s" % (tmp_path / "events.sqlite3"),
        "redis": lambda: request.getfixturevalue("redis_url"),
    }[request.param]()
    mux = flask_ssemux.SSEMux()
    mux.track_presence("*")
    mux.track_presence("room:<name>")
    return make_app(mux, SSEMUX_BROKER=broker, **OPTIONS)


def opened(process, user, channels, last_ids=()):
    assert process.take_place(user) is None
    taken = process.mux.orders_taken()
    stream = process.mux.open(channels, user, last_ids, on_closed=process.on_closed, orders_taken=taken)
    process.opened()
    process.joined(stream, {"PATH_INFO": "/events", "QUERY_STRING": channels[0]}, channels[:1])
    stream.take(0.0)
    return stream


def live(process, number):
    """A user comes, hears an event of their room, comes back, and leaves."""
    room, user = "room:%d" % number, "user %d" % number
    stream = opened(process, user, [room, wire.user_channel(user), "*"])
    seen = process.broker.append(room, wire.body(room, "hello %d" % number), "key %d" % number)
    deadline = time.monotonic() + 2
    while not stream.queue and time.monotonic() < deadline:
        time.sleep(0.0001)
    assert stream.take(0.0)
    back = opened(process, user, [room], [str(seen)])
    for one in (stream, back):
        one.gone("its client left")


def size():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_memory_is_level_however_many_users_and_channels_come_and_go(app):
    process = app.extensions["ssemux"].process
    anchor = opened(process, None, ["*"])  # a worker with somebody on it
    for number in range(BEFORE):
        live(process, number)
    tracemalloc.start(1)
    try:
        before, began = size(), tracemalloc.take_snapshot()
        for number in range(BEFORE, BEFORE + COUNTED):
            live(process, number)
        until(lambda: not process.attendance._untold, 5, "presence is not told")
        process.mux.replay.forget_unused()
        process.mux.replay.forget_unused()
        grown = size() - before
        where = "\n".join(map(str, tracemalloc.take_snapshot().compare_to(began, "lineno")[:12]))
    finally:
        tracemalloc.stop()
    anchor.gone("the test is over")
    assert grown < EACH * COUNTED + 30_000, "%d bytes for each user:\n%s" % (grown / COUNTED, where)
