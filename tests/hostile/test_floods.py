"""10,000 malicious connections to one worker: connected clients still get heartbeats, and pages are answered.

The settings are those that README.md recommends (flask_ssemux/gunicorn_conf.py). A flood has a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import urllib.request

import pytest

from tests.harness.client import Herd
from tests.harness.packages import missing
from tests.harness.servers import ROOT, Gunicorn
from tests.harness.waiting import until
from tests.hostile.conftest import FORTRESS, Site

COUNT = 10_000

#: With room for the worker's share (SSEMUX_MAX_STREAMS is 80 % of it) and a margin.
FILES = int(COUNT / 0.8) + 500

#: The seconds of silence that clients are promised, the maximum that they get in a flood, and the maximum that they
#: accept. Time in which other processes of a busy machine kept the worker from running is not the flood's fault, up to
#: the latter.
HEARTBEAT, AT_MOST, TIMEOUT = 2, 4, 12

#: The maximum seconds for a page or an event on a busy machine: 2048 requests wait before it.
PAGE = 60


class Flooder:
    """tests/hostile/flood.py, which ends by itself after ``seconds``."""

    def __init__(self, kind, port, seconds):
        command = [sys.executable, "-m", "tests.hostile.flood", kind, str(port), str(COUNT), str(seconds)]
        self._process = subprocess.Popen(command, cwd=str(ROOT), stdout=subprocess.PIPE)
        self.figures = {"open": 0, "opened": 0, "closed": 0}
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self.figures = json.loads(line)

    def wait(self, name, least, timeout):
        until(lambda: self.figures[name] >= least, timeout, lambda: "%s >= %d: %s" % (name, least, self.figures))

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def room_for_files():
    """Allow as many open files as the system permits, for the servers and floods that are started meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        missing("a process may open %d files, and a flood takes %d: raise the hard limit (ulimit -Hn)" % (hard, FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def site(tmp_path_factory, room_for_files):
    env = {"SSEMUX_HEARTBEAT": str(HEARTBEAT), "SSEMUX_CLIENT_TIMEOUT": str(TIMEOUT)}
    env["INSTANCE_PATH"] = str(tmp_path_factory.mktemp("instance"))
    with Gunicorn(FORTRESS, 1, "python:flask_ssemux.gunicorn_conf", env=env) as server:
        yield Site(server)
        assert "Traceback" not in server.log


@pytest.fixture
def ordinary(site):
    """20 clients that were connected before; they are served whatever happens."""
    with Herd(site.port, 20, "/events?channel=room:1") as herd:
        herd.wait_all(b"ssemux.hello", PAGE)
        before = held_up(site)
        yield herd
        assert [stream.ended for stream in herd] == [None] * 20
        assert herd.longest_silence() < min(AT_MOST + held_up(site) - before, TIMEOUT)
        herd.wait_all(lambda stream: stream.body.count(b": heartbeat\n\n") >= 2, TIMEOUT)


@pytest.fixture
def flood(site):
    flooders = []

    def start(kind, seconds=PAGE):
        flooders.append(Flooder(kind, site.port, seconds))
        return flooders[-1]

    yield start
    for flooder in flooders:
        flooder.stop()
    until(lambda: files(site) < 100, PAGE, lambda: "the flood is over, and the worker has %d files" % files(site))


def files(site):
    (pid,) = site.server.worker_pids()
    return len(os.listdir("/proc/%d/fd" % pid))


def held_up(site):
    """Return the seconds in which the worker could have run but had no CPU (Documentation/scheduler/sched-stats)."""
    (pid,) = site.server.worker_pids()
    with open("/proc/%d/schedstat" % pid) as file:
        return int(file.read().split()[1]) / 1e9


def page(site):
    with urllib.request.urlopen(site.server.url + "/ping", timeout=PAGE) as answer:
        return answer.status


def test_half_a_request(site, ordinary, flood):
    """They occupy all connections of the worker; each is closed after gunicorn's ``keepalive``, 5 s."""
    flooder = flood("half")
    flooder.wait("open", COUNT * 0.9, PAGE)
    site.publish(["room:1", "in the flood", None])
    ordinary.wait_all(b"data: in the flood\n", PAGE)
    flooder.wait("closed", COUNT, PAGE)
    assert page(site) == 200


def test_streams_that_nobody_reads(site, ordinary, flood):
    """Events are published meanwhile; what waits for clients that do not read costs no memory of its own."""
    flooder = flood("deaf")
    flooder.wait("open", COUNT, PAGE)
    for number in range(3):
        site.publish(["room:1", "%d%s" % (number, "x" * 4000), None])
    assert page(site) == 200
    ordinary.wait_all(b"data: 2x", PAGE)
    seconds = ordinary[0].blocks[-1][0]
    ordinary.wait_all(lambda stream: stream.blocks[-1][0] > seconds + HEARTBEAT, PAGE)
    with open("/proc/%d/status" % site.server.worker_pids()[0]) as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    assert peak < 300_000, "the worker had %d MB" % (peak / 1000)


def test_a_storm_of_connections_that_close_at_once(site, ordinary, flood):
    flooder = flood("storm")
    flooder.wait("opened", COUNT, PAGE)
    assert page(site) == 200
    site.publish(["room:1", "after the storm", None])
    ordinary.wait_all(b"data: after the storm\n", PAGE)
