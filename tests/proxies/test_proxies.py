"""What arrives through each proxy, when, and for how long; docs/proxies.md shows the results.

The order matters: first the tests that leave a proxy as it is, at the end those that reload and kill it.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.doctor import Diagnosis, diagnose
from tests.harness.packages import need
from tests.harness.waiting import until
from tests.proxies import document
from tests.proxies.fleet import HELLO, SETUPS, Hop, age
from tests.proxies.follower import Follower
from tests.proxies.proxy import HEARTBEAT, NAME, TIMEOUT

STREAMS = 500


def milliseconds(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


@pytest.fixture(scope="module")
def missed(fleet):
    """Return the seconds until the worker noticed that a client had left, by setup."""
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


def test_what_a_client_missed_comes_at_once(hop: Hop):
    """The first write has more than 512 bytes, which is enough for compressors to compress it."""
    with hop.stream("/events") as stream:
        stream.wait_for(HELLO, 5)
        last = stream.last_event_id
    for number in range(3):
        hop.site.publish("room:missed", f"{number} " + "x" * 300)
    with hop.stream("/events?channel=room:missed", last) as stream:
        stream.wait_events(3, 5, "message")
        assert stream.blocks[-1][0] - stream.opened_at < 1


def test_a_client_that_leaves_is_missed(hop: Hop, missed):
    assert hop.setup in missed, f"after {4 * HEARTBEAT} s the worker holds the stream of a client that left"
    took = missed[hop.setup]
    if hop.setup.departure == "at once":
        assert took < 1
        hop.seen["left"] = "noticed at once"
    else:
        assert took < 3 * HEARTBEAT + 1
        hop.seen["left"] = f"noticed by a write that fails, after {took:.1f} s"


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
        hop.seen["idle"] = "kept; the proxy has no time-out"


def test_the_old_stream_for_contrast(hop: Hop):
    """The old stream sends a heartbeat every second. Measure as a client does: when its headers and heartbeats
    arrive.
    """
    old = hop.old
    until(lambda: age(old) > 5, 10, f"it is {age(old)} s old")
    if hop.setup.old == "held back":
        assert old.headers_at is None, old.describe()
        hop.seen["old"] = "held back, including the headers"
        return
    assert len(old.comments()) >= 3, old.describe()
    hop.seen["old"] = "passes"
    if hop.setup.old == "shared":
        with hop.stream("/before/events") as another:
            another.wait_for(b'{"done": 3}', 1)  # what was sent to the first client seconds ago
        hop.seen["old"] = "passes; cached, and another client gets the same stream"


def test_500_streams(hop: Hop):
    """Through a proxy with room for fewer streams, those that have room are served; the others wait or are refused."""
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
    hop.seen["many"] = "500" if number == STREAMS else f"**{number}**; the others wait or are refused"


def test_over_http2_streams_share_a_connection(hop: Hop, pem, tmp_path):
    """Eight streams, because browsers open at most six connections to a host."""
    if hop.tls is None:
        hop.seen["http2"] = ""  # browsers speak HTTP/2 only over TLS
        return
    address = f"{NAME}:{hop.server.port}"
    command = [need("curl", "curl"), "-sSN", "--http2", "--parallel", "--max-time", "1.5", "--cacert", str(pem)]
    command += ["--resolve", f"{address}:127.0.0.1", "--write-out", "%{http_version} %{num_connects}\n"]
    command += ["--output", f"{tmp_path}/#1", f"https://{address}/events?channel=room:[1-8]"]
    done = subprocess.run(command, capture_output=True, timeout=30)
    transfers = [line.split() for line in done.stdout.decode().splitlines()]
    assert {version for version, _ in transfers} <= {"2", "0"} and len(transfers) == 8, done  # 0: no answer came
    assert sum(int(connects) for _, connects in transfers) == 1, done
    files = [tmp_path / str(number) for number in range(1, 9)]
    served = sum(file.exists() and HELLO in file.read_bytes() for file in files)
    assert served == hop.setup.over_http2, done
    hop.seen["http2"] = "8" if served == 8 else f"**{served}**; the others wait"


@pytest.fixture(scope="module")
def bills(fleet, pem):
    """Run the doctor against each proxy, two at a time, and return what it says."""

    def diagnosed(hop: Hop) -> Diagnosis:
        scheme, host = ("https", NAME) if hop.setup.tls else ("http", "127.0.0.1")
        port = hop.server.port
        return diagnose(f"{scheme}://{host}:{port}/events", "--connect-to", f"127.0.0.1:{port}", "--ca", str(pem))

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(fleet.hops, pool.map(diagnosed, fleet.hops.values())))


def test_the_doctor_finds_nothing_wrong(hop: Hop, bills):
    said = bills[hop.setup]
    assert said.code == 0, said
    assert "fail" not in said.statuses.values()
    for name in ("first byte", "flow", "cache", "resume", "silence"):
        assert said.statuses[name] == "ok", said
    # mod_deflate also compresses an answer with the encoding "identity", and flushes it.
    assert said.statuses["compression"] == ("warn" if "DEFLATE" in hop.setup.config else "ok"), said


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
            lambda: f"{sent} by {connected} connections; it got {follower.got} by {follower.connected}",
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


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_the_document_says_what_is_expected_here(setup):
    row = next(row for row in document.rows() if row[:2] == [setup.proxy, setup.config])
    assert len(row) == 2 + len(document.COLUMNS)
    seen = dict(zip(document.COLUMNS, row[2:]))
    assert ("at once" in seen["left"]) == (setup.departure == "at once")
    assert ("go on" in seen["reload"]) == (setup.reload == "go on")
    assert ("held back" in seen["old"]) == (setup.old == "held back")
    assert (seen["many"] == "500") or setup.holds < STREAMS
