"""What arrives, when, and for how long through each proxy; see docs/proxies.md for what was seen."""

from __future__ import annotations

import statistics
import threading
import time

import pytest

from tests.harness.waiting import until
from tests.proxies.fleet import Hop, age, plain_blocks, readable
from tests.proxies.proxy import HEARTBEAT, TIMEOUT

HELLO = b"ssemux.hello"
STREAMS = 500


def wait_plain(stream, what: bytes, timeout: float) -> None:
    stream.wait_for(lambda stream: what in readable(stream), timeout)


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


def test_the_first_bytes_come_at_once(hop: Hop):
    took = []
    for _ in range(5):
        with hop.stream("/events") as stream:
            wait_plain(stream, HELLO, 5)
            assert stream.headers["content-type"] == "text/event-stream"
            took.append(plain_blocks(stream)[0][0] - stream.opened_at)
    assert statistics.median(took) < 1
    hop.note(first=milliseconds(took))


def test_an_event_passes_as_it_is_published(hop: Hop):
    took = []
    with hop.stream("/events?channel=room:now") as stream:
        wait_plain(stream, HELLO, 5)
        for number in range(5):
            started = time.monotonic()
            hop.site.publish("room:now", f"number {number}")
            wait_plain(stream, b"number %d" % number, 5)
            took.append(plain_blocks(stream)[-1][0] - started)
    assert statistics.median(took) < 1
    hop.note(event=milliseconds(took))


def test_a_client_that_leaves_is_missed(hop: Hop):
    with hop.herd(5, "/events?channel=room:left") as herd:
        for stream in herd:
            wait_plain(stream, HELLO, 5)
        assert hop.readers("room:left") == 5
    started = time.monotonic()
    until(lambda: hop.readers("room:left") == 0, 10, "the worker holds streams of clients that left")
    took = time.monotonic() - started
    assert took < (1 if hop.setup.departure == "at once" else 3 * HEARTBEAT + 1)
    hop.note(left="at once" if hop.setup.departure == "at once" else f"at a heartbeat: {took:.1f} s")


def test_heartbeats_keep_an_idle_stream_over_the_time_out(hop: Hop):
    """The silent stream beside it shows that the time-out is in force."""
    stream = hop.idle
    until(lambda: age(stream) > 2.5 * TIMEOUT, 3 * TIMEOUT, "ten seconds")
    assert stream.ended is None, stream.describe()
    assert readable(stream).count(b": heartbeat\n\n") >= int(2.5 * TIMEOUT / HEARTBEAT) - 1
    assert stream.longest_silence() < HEARTBEAT + 1
    silent = hop.silent
    if hop.setup.times_out:
        lasted = silent.ended_at - silent.opened_at
        assert TIMEOUT - 1 < lasted < TIMEOUT + 2, silent.describe()
    else:
        assert silent.ended is None, silent.describe()
    hop.note(
        silence=f"{stream.longest_silence():.1f} s",
        idle=f"kept; silent: cut after {lasted:.0f} s" if hop.setup.times_out else "kept; there is none",
    )


def test_the_old_stream_for_contrast(hop: Hop):
    stream = hop.old
    until(lambda: age(stream) > 5, 10, "five seconds")
    blocks = plain_blocks(stream)
    if hop.setup.old == "held back":
        assert not stream.headers_at, stream.describe()
    else:
        assert len(blocks) >= 4, stream.describe()
    with hop.stream("/before/events") as another:
        shared = hop.setup.old == "shared"
        if shared:
            wait_plain(another, b'{"done": 3}', 1)
    hop.note(old={"held back": "held back, headers too", "shared": "passes; cached, and sent to others"}.get(hop.setup.old, "passes"))


def test_500_streams(hop: Hop):
    with hop.herd(STREAMS, "/events?channel=room:many", timeout=10) as herd:
        until(lambda: len(greeted(herd)) >= STREAMS or (len(greeted(herd)) >= hop.setup.holds < STREAMS and herd.longest_silence()>3), 10, lambda: f"{len(greeted(herd))}")
        number = len(greeted(herd))
        hop.site.publish("room:many", "for all")
        until(lambda: sum(b"for all" in readable(stream) for stream in herd) >= number, 5, "all heard it")
    hop.note(many=f"{number}")


def greeted(herd):
    return [stream for stream in herd if HELLO in readable(stream)]


class Follower(threading.Thread):
    """A client that resumes, as browsers do, without their pause. Notes what it got, and how often it connected."""

    def __init__(self, hop: Hop, channel: str) -> None:
        super().__init__(daemon=True)
        self.hop, self.channel = hop, channel
        self.got: list[str] = []
        self.connected = 0
        self.last = None
        self.over = False

    def run(self) -> None:
        while not self.over:
            try:
                self._follow()
            except OSError:  # the proxy is away
                time.sleep(0.02)

    def _follow(self) -> None:
        with self.hop.stream(f"/events?channel={self.channel}", self.last) as stream:
            known = 0
            while not self.over:
                events = plain_events(stream)
                if events and not known:
                    self.connected += 1
                self.got += [event.data for event in events[known:] if event.event == "n"]
                self.last = events[-1].last_event_id if events else self.last
                known = len(events)
                if stream.ended:
                    return
                time.sleep(0.01)


def plain_events(stream):
    from tests.harness.parser import Parser

    parser = Parser()
    for at, data in plain_blocks(stream):
        parser.feed(data, at)
    return parser.events


def test_nothing_is_lost_over_a_reload_and_a_crash(hop: Hop):
    channel = f"room:{hop.server.port}"
    follower = Follower(hop, channel)
    follower.start()
    sent = []

    def publish():
        for _ in range(5):
            sent.append(f'"{len(sent)}"')
            hop.site.publish(channel, str(len(sent) - 1), event="n")

    def caught_up():
        until(lambda: len(follower.got) >= len(sent), 10, lambda: f"{follower.got} of {sent}, {follower.connected}")

    try:
        until(lambda: follower.connected == 1, 5, "connected")
        publish()
        caught_up()
        hop.server.reload()
        publish()
        caught_up()
        if hop.setup.reload == "cut":
            until(lambda: follower.connected == 2, 5, "resumed after the reload")
        assert follower.connected == (2 if hop.setup.reload == "cut" else 1)
        hop.server.kill()
        publish()
        hop.server.start()
        publish()
        caught_up()
        assert follower.connected == (3 if hop.setup.reload == "cut" else 2)
    finally:
        follower.over = True
        follower.join(10)
    assert follower.got == sent
    hop.note(reload="streams are cut and resume; resume" if hop.setup.reload == "cut" else "streams go on; resume")
