"""What arrives, when, and for how long through each proxy; docs/proxies.md has what was seen.

The order is of importance: first what leaves a proxy as it is, at last what reloads and kills it.
"""

from __future__ import annotations

import statistics
import time

import pytest

from tests.harness.waiting import until
from tests.proxies import document
from tests.proxies.fleet import HELLO, Hop, age
from tests.proxies.follower import Follower
from tests.proxies.proxy import HEARTBEAT, TIMEOUT

STREAMS = 500


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


@pytest.fixture(scope="module")
def missed(fleet):
    """Seconds until the worker missed a client that left, by setup."""
    fleet.leave()
    return fleet.missed


def test_the_first_bytes_come_at_once(hop: Hop):
    took = []
    for _ in range(5):
        with hop.stream("/events") as stream:
            stream.wait_for(HELLO, 5)
            assert stream.headers["content-type"] == "text/event-stream"
            took.append(stream.first_byte_at - stream.opened_at)
    assert statistics.median(took) < 1
    hop.seen["first"] = milliseconds(took)


def test_an_event_passes_as_it_is_published(hop: Hop):
    took = []
    with hop.stream("/events?channel=room:now") as stream:
        stream.wait_for(HELLO, 5)
        for number in range(5):
            started = time.monotonic()
            hop.site.publish("room:now", f"number {number}")
            stream.wait_for(b"number %d" % number, 5)
            took.append(stream.blocks[-1][0] - started)
    assert statistics.median(took) < 1
    hop.seen["event"] = milliseconds(took)


def test_a_client_that_leaves_is_missed(hop: Hop, missed):
    assert hop.setup in missed, f"after {4 * HEARTBEAT} s the worker holds the stream of a client that left"
    took = missed[hop.setup]
    if hop.setup.departure == "at once":
        assert took < 1
        hop.seen["left"] = "noticed at once"
    else:
        assert HEARTBEAT / 4 < took < 3 * HEARTBEAT + 1, "better than it is said to be" if took < 1 else took
        hop.seen["left"] = f"noticed at a heartbeat, after {took:.1f} s"


def test_heartbeats_keep_an_idle_stream_over_the_time_out(hop: Hop):
    """The silent stream beside it shows that the time-out is in force."""
    idle, silent = hop.idle, hop.silent
    until(lambda: age(idle) > 2.5 * TIMEOUT, 3 * TIMEOUT, f"it is {age(idle)} s old")
    assert idle.ended is None, idle.describe()
    assert len(idle.comments()) >= 2.5 * TIMEOUT / HEARTBEAT - 1
    assert idle.longest_silence() < HEARTBEAT + 1
    hop.seen["silence"] = f"{idle.longest_silence():.1f} s"
    if hop.setup.times_out:
        assert silent.ended, f"no time-out is in force: {silent.describe()}"
        lasted = silent.ended_at - silent.opened_at
        assert TIMEOUT - 1 < lasted < TIMEOUT + 1
        hop.seen["idle"] = f"kept; without heartbeats cut after {lasted:.0f} s"
    else:
        assert silent.ended is None, silent.describe()
        hop.seen["idle"] = "kept; it has none"


def test_the_old_stream_for_contrast(hop: Hop):
    """It beats every second. Seen as a client does: when headers and what it beat have come."""
    old = hop.old
    until(lambda: age(old) > 5, 10, f"it is {age(old)} s old")
    if hop.setup.old == "held back":
        assert old.headers_at is None, old.describe()
        hop.seen["old"] = "held back, headers too"
        return
    assert len(old.comments()) >= 3, old.describe()
    hop.seen["old"] = "passes"
    if hop.setup.old == "shared":
        with hop.stream("/before/events") as another:
            another.wait_for(b'{"done": 3}', 1)  # what the first client's stream said seconds ago
        hop.seen["old"] = "passes; cached, and another client gets the same stream"


def test_500_streams(hop: Hop):
    """Where fewer fit, those that do are served, and the rest wait or are refused."""
    with hop.herd(STREAMS, "/events?channel=room:many", timeout=10) as herd:

        def greeted():
            return sum(HELLO in stream.body for stream in herd)

        until(lambda: greeted() >= hop.setup.holds, 10, lambda: f"{greeted()} streams were greeted")
        hop.site.publish("room:many", "for all")
        until(
            lambda: sum(b"for all" in stream.body for stream in herd) >= hop.setup.holds,
            5,
            lambda: f"{sum(b'for all' in stream.body for stream in herd)} of {STREAMS} got it",
        )
        number = greeted()
    hop.seen["many"] = "500" if number == STREAMS else f"**{number}**, the rest waits or is refused"


def test_nothing_is_lost_over_a_reload_and_a_crash(hop: Hop):
    channel = f"room:{hop.server.port}"
    sent: list[str] = []
    follower = Follower(hop, channel)

    def publish():
        for _ in range(5):
            hop.site.publish(channel, str(len(sent)), event="n")
            sent.append(str(len(sent)))

    def follow(connected):
        until(
            lambda: len(follower.got) >= len(sent) and follower.connected >= connected,
            10,
            lambda: f"{sent} by {connected} connections; it got {follower.got} by {follower.connected}; {follower.stream.describe()} {follower.is_alive()}",
        )
        assert (follower.got, follower.connected) == (sent, connected)

    follower.start()
    try:
        follow(1)
        publish()
        hop.server.reload()
        publish()
        connections = 1 if hop.setup.reload == "go on" else 2
        follow(connections)
        hop.server.kill()
        publish()
        hop.server.start()
        publish()
        follow(connections + 1)
    finally:
        follower.stop()
    hop.seen["reload"] = "streams go on" if hop.setup.reload == "go on" else "streams are cut, and resume"


def test_the_document_has_every_row():
    from tests.proxies.fleet import SETUPS

    assert [row[:2] for row in document.rows()] == [[setup.proxy, setup.config] for setup in SETUPS]
