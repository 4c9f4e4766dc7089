"""A program: many users and channels come and go in a worker, and its memory must stay level.

Its argument is the broker's URL. It fails with what grew. It is a process of its own, as whatever earlier tests left
running, such as the timers of other hubs, would be counted too.
"""

from __future__ import annotations

import gc
import linecache
import os
import sys
import tempfile
import time
import tracemalloc
from collections import deque

from flask import Flask

import flask_ssemux
from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.memory import kept_events
from flask_ssemux.sse import encode
from tests.harness.waiting import until

#: Users before memory is measured: by then the store is full.
BEFORE = 150

#: Users whose traces are measured; each has a channel of its own.
COUNTED = int(os.environ.get("GROWTH", 400))

#: The bytes that one more user may leave behind, and those that buffers and half-empty sets may take in any case.
EACH = 60
SLACK = 120_000

OPTIONS = {
    "SSEMUX_HISTORY_EVENTS": 5,
    "SSEMUX_HISTORY_BYTES": 65_536,
    "SSEMUX_RECHECK": 3600,
    "SSEMUX_OVER_USER_LIMIT": "oldest",
}


def make_app(url, folder):
    constants.LIVE_SECONDS, constants.LIVE_EVENTS = 0.0, 100
    kept_events.FLOORS = 20  # with the history's channels, far below COUNTED / 2
    mux = flask_ssemux.SSEMux()
    mux.track_presence("*")
    mux.track_presence("room:<name>")
    app = Flask("growth", instance_path=folder)
    app.config.update(OPTIONS, SSEMUX_BROKER=url)
    mux.init_app(app)
    return app


def opened(worker, user, channels, last_ids=()):
    running = worker.running()
    permit = running.admission.admit(user)
    taken = running.hub.count_revocations()
    closed = running.on_stream_closed
    resume = running.hub.parse_last_ids(last_ids)
    stream = permit.stream = running.hub.open_stream(channels, user, resume, on_closed=closed, revocations_seen=taken)
    running.register_stream(stream, {"PATH_INFO": "/events", "QUERY_STRING": channels[0]}, channels[:1], permit.opening)
    stream.take_bytes(0.0)
    return stream


def live(worker, number):
    """Let a user connect, receive an event of their room, reconnect, and leave."""
    room, user = "room:%d" % number, "user %d" % number
    stream = opened(worker, user, [room, encode.user_channel(user), "*"])
    seen = worker.broker.history.append_event(
        room, encode.make_body(room, "hello %d" % number + 500 * "."), "key %d" % number
    )
    deadline = time.monotonic() + 10
    while not stream.queue and time.monotonic() < deadline:
        time.sleep(0.0001)
    assert stream.take_bytes(0.0), "the event of %s was not delivered within 10 s" % room
    back = opened(worker, user, [room], [str(seen)])
    for one in (stream, back):
        one.mark_closed("its client left")


def clear_others():
    """Free what is garbage, and source files that warnings and logged errors have loaded."""
    linecache.clearcache()
    gc.collect()


def size():
    clear_others()
    return tracemalloc.get_traced_memory()[0]


def containers():
    """Return this process's containers, with those that the collector does not track, such as a dict that has only
    texts.
    """
    kinds = (dict, set, list, deque)
    clear_others()
    followed = gc.get_objects()
    # The type is examined, not the object: a dead proxy raises when it is asked for its class.
    found = {id(one): one for one in followed if issubclass(type(one), kinds)}
    found.update((id(one), one) for one in gc.get_referents(*followed) if issubclass(type(one), kinds))
    return [one for one in found.values() if one is not followed]


def grown_since(sizes):
    """Return the contents of the containers that have grown by an entry for at least every other user since then."""
    grown = [found for found in containers() if len(found) - sizes.get(id(found), 0) >= COUNTED / 2]
    shown = ["%.2000r" % list(found)[-20:] for found in grown if found is not sizes]
    return [text for text in shown if "room:" in text or "user " in text or "flask_ssemux.hub.stream" in text]


def check_growth(app):
    worker = app.extensions["ssemux"].worker
    anchor = opened(worker, None, ["*"])  # a worker with a client
    tracemalloc.start(1)
    try:
        for number in range(BEFORE):
            live(worker, number)
        sizes = {id(found): len(found) for found in containers()}
        before, began = size(), tracemalloc.take_snapshot()
        for number in range(BEFORE, BEFORE + COUNTED):
            live(worker, number)
        until(lambda: not worker.running().presence._unannounced, 5, "presence is not announced")
        worker.running().hub.replay.forget_unused()
        worker.running().hub.replay.forget_unused()
        grown = size() - before
        where = "\n".join(map(str, tracemalloc.take_snapshot().compare_to(began, "lineno")[:12]))
    finally:
        tracemalloc.stop()
    anchor.mark_closed("the test is over")
    assert grown < EACH * COUNTED + SLACK, "%d bytes for each user:\n%s" % (grown / COUNTED, where)
    del began
    until(lambda: not grown_since(sizes), 5, lambda: "what grew: %s" % grown_since(sizes))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        check_growth(make_app(sys.argv[1], folder))
