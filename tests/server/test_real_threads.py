"""Publishing from threads of the operating system, beside gevent's loop: gevent's thread pool, and others."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from tests.harness.engines import ALL

APP = "tests.apps.pooled_threads:create_app()"
WAYS = ("pool", "executor", "thread")


@pytest.mark.engines("memory", "sqlite", "redis", "postgres", within=ALL)
def test_what_threads_publish_arrives_and_no_page_waits(serve):
    site = serve(APP)
    first = site.get("/compute/pool/first")["cursor"]  # the worker's very first call
    assert first.endswith("-14")
    with site.stream("/events?channel=room:1", user="ann") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        names = ["%s%d" % (way, number) for way in WAYS for number in range(2)]
        computing = [
            threading.Thread(target=site.get, args=("/compute/%s/%s" % (name[:-1], name),), daemon=True)
            for name in names
        ]
        for thread in computing:
            thread.start()
        longest = 0.0
        for number in range(20):
            began = time.monotonic()
            site.publish("room:1", "page %d" % number)
            longest = max(longest, time.monotonic() - began)
        for thread in computing:
            thread.join(10)
        assert longest < 1.0, longest
        site.publish("room:1", "last")
        stream.wait_for(b"data: last", 5)
        expected = ["page %d" % number for number in range(20)] + ["last"]
        for name in names:
            expected += ["%s %d" % (name, done) for done in range(10)] + ["%s sent" % name, "%s broadcast" % name]
        assert Counter(event.data for event in stream.events("message")) == Counter(expected)
    assert "Traceback" not in site.server.log


def test_a_thread_beside_a_blocked_loop_gets_an_error_in_time(serve):
    site = serve(APP)
    assert "-" in site.get("/compute/blocked?seconds=0.5")["found"]
    found = site.get("/compute/blocked?seconds=3")["found"]
    assert found == (
        "a thread beside gevent's loop called, and the loop, which makes the call, was blocked for 2 s; nothing was "
        "done: docs/blocking.md says how to find what blocks it"
    )
