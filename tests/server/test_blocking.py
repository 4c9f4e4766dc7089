"""What blocks a worker's loop is named in the log and counted; nothing is logged for a worker without a block."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.status.totals import compute_totals
from tests.harness.waiting import until

STREAM = "/events?channel=room:1"

#: The maximum until a report is made, which happens every 5 s.
SOON = 8


@pytest.fixture
def reports(instance_env):
    """The workers' reports, read as `flask ssemux status` reads them."""
    broker = open_broker("sqlite:///%s/ssemux.sqlite3" % instance_env["INSTANCE_PATH"])
    yield broker.reports.read_reports
    broker.close()


def blocking_lines(site):
    """Return the log's lines about blocking."""
    return re.findall(r"^.*is late by .*$", site.server.log, re.M)


def status(lab_env, *arguments):
    command = [sys.executable, "-m", "flask", "ssemux", "status", *arguments]
    return subprocess.run(command, check=True, env=lab_env, timeout=30, capture_output=True, text=True).stdout


def at_once(*calls):
    """Call all functions at once, each in a thread."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def sites(serve):
    """A worker of each transport, on one broker."""
    return serve(transport="generator"), serve(transport="handoff")


def test_what_blocks_the_loop_is_logged_once_a_minute_and_counted(sites, lab_env, reports):
    one, two = sites
    with one.stream(STREAM) as first, two.stream(STREAM) as second:
        for stream in (first, second):
            stream.wait_for(b"ssemux.hello", 3)
        for path in ("/block?seconds=3", "/block?seconds=1.5"):
            at_once(*(functools.partial(site.get, path) for site in sites))
        one.publish("room:1", "afterwards")
        for stream in (first, second):
            stream.wait_for(b"afterwards", 3)
        until(lambda: compute_totals(reports())["late"] == 4, SOON, lambda: str(reports()))
    for site in sites:
        (line,) = blocking_lines(site)
        assert 2700 <= int(re.search(r"late by (\d+) ms", line).group(1)) < 60000
        assert "its streams (1) got neither heartbeats nor events (heartbeats are due every 1 s" in line
        assert re.search(r"; block \(\S*/tests/apps/lab\.py:\d+\) > wait_unpatched \(\S*:\d+\) ran; let it wait", line)
        assert re.search(r'^  File "\S*/tests/apps/lab\.py", line \d+, in block$', site.server.log, re.M)
    shown = json.loads(status(lab_env, "--json"))
    assert (shown["totals"]["workers"], shown["totals"]["late"]) == (2, 4)
    assert shown["totals"]["longest_late"] >= 2.7
    assert {worker["pid"] for worker in shown["workers"]} == {site.server.worker_pids()[0] for site in sites}
    assert all(worker["age"] < 10 and worker["delivered"] <= 1 for worker in shown["workers"])
    assert status(lab_env).count("late 2 (up to ") == 2


def test_nothing_is_logged_for_busy_workers_that_do_not_block(sites, reports):
    one, two = sites
    with one.herd(50, STREAM) as first, two.herd(50, STREAM) as second:
        for herd in (first, second):
            herd.wait_all(b"ssemux.hello", 5)
        one.post("/burst?count=100&size=1000")
        for herd in (first, second):
            herd.wait_all(lambda stream: stream.comments().count(" heartbeat") >= 2, 8)
        until(lambda: compute_totals(reports())["delivered"] == 10000, SOON, lambda: str(reports()))
        assert (compute_totals(reports())["late"], compute_totals(reports())["streams"]) == (0, 100)
        assert [blocking_lines(site) for site in sites] == [[], []]


def test_a_call_that_holds_the_interpreter_lock_is_logged_too(serve):
    site = serve()
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 3)
        site.get("/block?seconds=0.8&how=search")
        site.server.wait_log(r"is late by .* search \(\S*/tests/apps/lab\.py", 3)


def test_a_block_for_which_gunicorn_ends_the_worker_is_logged_too(serve):
    site = serve(args=("--timeout", "2"))
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 3)
        threading.Thread(target=hang, args=(site,)).start()
        site.server.wait_log(r"WORKER TIMEOUT[^\0]*is late by .* wait_unpatched \(", 10)
        stream.wait_end(5)


def hang(site):
    try:
        urllib.request.urlopen("http://127.0.0.1:%d/block?seconds=60" % site.port, timeout=30).close()
    except OSError:
        pass


def test_totals_are_those_of_the_living_workers(serve, reports):
    site = serve(workers=2)
    with site.herd(20) as herd:
        herd.wait_all(b"ssemux.hello", 5)
        until(lambda: compute_totals(reports())["streams"] == 20, SOON, lambda: str(reports()))
        both = {report.figures["pid"]: report.figures["streams"] for report in reports()}
        assert set(both) == set(site.server.worker_pids())
        victim = min(both)
        os.kill(victim, signal.SIGKILL)
        site.server.wait_workers(2, 10, gone=[victim])
        seen = compute_totals(reports())
        assert (seen["workers"], seen["streams"]) == (1, 20 - both[victim])
        site.server.signal(signal.SIGTERM)
        until(lambda: not reports(), 8, lambda: str(reports()))


def test_in_threads_only_the_lag_is_logged(serve_threads, reports):
    site = serve_threads()
    with site.stream() as stream:
        stream.wait_for(b"ssemux.hello", 3)
        site.get("/block?seconds=1.3&how=search")
        site.server.wait_log("is late by .*; in threads the cause is not known", 3)
        until(reports, 3, "no report of the process")
        assert len(reports()) == 1
