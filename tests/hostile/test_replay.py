"""Clients that return to a long history, with many channels or without reading: other clients of the worker do not
notice.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from flask_ssemux.brokers import HistoryLimits, open_broker
from flask_ssemux.sse import encode
from tests.harness.client import Herd
from tests.harness.servers import ROOT, Gunicorn
from tests.hostile.conftest import FORTRESS, Site

HISTORY = HistoryLimits(events=10**6, size=2**30)

#: The seconds of silence that the others are promised, and the maximum that they get.
HEARTBEAT, AT_MOST = 1, 2

#: The maximum seconds for a page, and KB for a worker, whatever is replayed.
PAGE, MEMORY = 0.25, 200_000


@pytest.fixture
def fill(broker_url):
    """fill(channels, events, size): publish so many events to each channel; return the cursor before them."""
    brokers = []

    def fill(channels, events, size):
        broker = open_broker(broker_url, HISTORY)
        brokers.append(broker)
        before = broker.history.append_event("other", b"data: first\n\n")
        bodies = [encode.make_body("room:%d" % number, "x" * size) for number in range(channels)]
        for index in range(channels * events):
            broker.history.append_event("room:%d" % (index % channels), bodies[index % channels])
        return str(before)

    yield fill
    for broker in brokers:
        broker.close()


@pytest.fixture
def site(broker_url, tmp_path):
    env = {
        "SSEMUX_BROKER": broker_url, "INSTANCE_PATH": str(tmp_path), "SSEMUX_HEARTBEAT": str(HEARTBEAT),
        "SSEMUX_HISTORY_EVENTS": str(HISTORY.events), "SSEMUX_HISTORY_BYTES": str(HISTORY.size),
    }  # fmt: skip
    with Gunicorn(FORTRESS, 1, "python:flask_ssemux.gunicorn_conf", env=env) as server:
        yield Site(server)
        assert "Traceback" not in server.log


class Clients:
    """Replaying clients, in a process of their own: benchmarks/reader.py."""

    def __init__(self, kind, site, count, channels, events, cursor):
        path = "/events?" + "&".join("channel=room:%d" % number for number in range(channels))
        command = [sys.executable, "-m", "benchmarks.reader", kind]
        command += [str(site.port), str(count), path, cursor, str(events)]
        self._process = subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE, text=True)

    def wait(self):
        """Wait until they have received everything, or have sent their requests."""
        assert self._process.stdout.readline(), "a client was cut off"

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def clients(site):
    started = []

    def start(*values):
        started.append(Clients(values[0], site, *values[1:]))
        return started[-1]

    yield start
    for one in started:
        one.stop()


class Pages:
    """Requests a page over and over, and keeps the longest time that one took."""

    def __init__(self, site):
        self._url = site.server.url + "/ping"
        self._is_over = False
        self.longest = 0.0
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self):
        while not self._is_over:
            began = time.monotonic()
            urllib.request.urlopen(self._url, timeout=60).read()
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(0.01)

    def end(self):
        self._is_over = True
        self._thread.join()
        return self.longest


def status(site, name):
    with open("/proc/%d/status" % site.server.worker_pids()[0]) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))


def held_up(site):
    """Return the seconds in which the worker, or this process, could have run but had no CPU."""
    paths = ("/proc/%d/schedstat" % site.server.worker_pids()[0], "/proc/self/schedstat")
    return sum(int(Path(path).read_text().split()[1]) for path in paths) / 1e9


@pytest.mark.engines("sqlite", "postgres")
@pytest.mark.parametrize("channels, events, size", [(100, 150, 50), (30, 10, 100_000)], ids=["small", "large"])
def test_many_channels_replayed_by_many_at_once(fill, site, clients, channels, events, size):
    cursor = fill(channels, events, size)
    with Herd(site.port, 5, "/events?channel=room:others") as others:
        others.wait_all(b"ssemux.hello", 10)
        before, pages = held_up(site), Pages(site)
        try:
            clients("read", 10, channels, channels * events, cursor).wait()
        finally:
            longest = pages.end()
        late = held_up(site) - before
        assert [stream.ended for stream in others] == [None] * 5
        assert others.longest_silence() < AT_MOST + late
    assert longest < PAGE + late
    assert status(site, "VmHWM") < MEMORY


@pytest.mark.engines("sqlite", "redis")
def test_clients_that_replay_and_do_not_read(fill, site, clients):
    """Large events, with more bytes than may be shared; meanwhile, a client that reads gets all of them."""
    channels, events = 6, 50
    cursor = fill(channels, events, 200_000)
    with Herd(site.port, 5, "/events?channel=room:others") as others:
        others.wait_all(b"ssemux.hello", 10)
        before = held_up(site)
        clients("deaf", 120, channels, 0, cursor).wait()
        clients("read", 1, channels, channels * events, cursor).wait()
        assert others.longest_silence() < AT_MOST + held_up(site) - before
    assert status(site, "VmHWM") < MEMORY
