"""A view forks its worker in every way while clients have streams: the child does its job and touches nothing else."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.harness.waiting import until

APP = "tests.apps.forking:create_app()"
GREENLETS = ("process", "fork", "fork_and_sys_exit", "twice", "greenlet", "gevent", "original", "preexec")
#: A pool that reads its results in a way that stops gevent's loop for good.
THREADS = ("process", "pool", "fork", "preexec")


class ThirdParty:
    """A foreign server, to which each child connects."""

    def __init__(self):
        self.received = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        with connection, connection.makefile("rb") as file:
            self.received.append(file.read().decode())

    def close(self):
        self._server.close()


@pytest.fixture
def third_party():
    made = ThirdParty()
    yield made
    made.close()


@pytest.mark.engines("sqlite", "redis", "postgres")
def test_a_child_does_its_job_and_nothing_of_its_parents(serve, third_party, instance_folder):
    check_children(serve(APP, transport="handoff"), GREENLETS, third_party, instance_folder)


@pytest.mark.engines("redis")
def test_a_child_of_a_worker_without_handoff(serve, third_party, instance_folder):
    check_children(serve(APP, transport="generator"), GREENLETS, third_party, instance_folder)


@pytest.mark.engines("sqlite")
def test_a_child_of_a_worker_with_threads(serve_threads, third_party, instance_folder):
    check_children(serve_threads(APP), THREADS, third_party, instance_folder)


def check_children(site, ways, third_party, folder):
    """Fork in each way while clients have streams, and check what the children and the worker did."""
    streams = [site.stream("/events?channel=room:1", user="u%d" % n, version=("1.0", "1.1")[n % 2]) for n in range(6)]
    old = site.stream("/old/ticking")
    for stream in streams:
        stream.wait_for(b"ssemux.hello", 3)
    old.wait_for(b"data:", 3)
    pid = site.get("/ping")["pid"]
    pages = []

    def visit():
        pages.append(site.get("/nap")["pid"])

    waiting = threading.Thread(target=visit)
    waiting.start()
    for way in (*ways, "subprocess"):
        assert site.get("/job/%s?port=%d" % (way, third_party.port))["pid"] == pid
    waiting.join()
    sent = ["page %d" % number for number in range(20)]
    for data in sent:
        site.publish("room:1", data)
        pages.append(site.get("/ping")["pid"])
        time.sleep(0.1)

    reports = [os.path.join(folder, "report of " + way) for way in ways]
    until(lambda: all(map(os.path.exists, reports)), 10, lambda: str((os.listdir(folder), site.server.log_tail())))
    assert {Path(report).read_text() for report in reports} == {"begun\ndone\n"}
    until(lambda: sorted(third_party.received) == sorted(ways), 5, lambda: str(third_party.received))

    site.publish("room:1", "last")
    sent += ["last", *("%s %d" % (way, done) for way in ways for done in range(3))]
    for stream in streams:
        stream.wait_for(b"data: last", 5)
        assert Counter(event.data for event in stream.events("message")) == Counter(sent)
        assert stream.ended is None and stream.longest_silence() < 2.5
    assert {event.data.split(" of ")[1] for event in old.events("message")} == {str(pid)}
    assert set(pages) == {pid}

    figures = site.figures()
    assert (figures["pid"], figures["streams"], figures["wrapped"], figures["held"]) == (pid, 6, 1, 6)
    if "SSEMUX_BROKER" not in site.server.env:
        with open(os.path.join(folder, "ssemux.sqlite3"), "rb") as file:
            assert file.read(16) == b"SQLite format 3\0"
    assert "a generator ended" not in site.server.log
    assert "/flask_ssemux/" not in site.server.log  # in a traceback
    until(lambda: not descendants(pid), 10, "a child is left")
    for stream in (*streams, old):
        stream.close()


def descendants(pid):
    """Return the living children of a process."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [child for child in file.read().split() if not is_dead(child)]


def is_dead(pid):
    try:
        with open("/proc/%s/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def ask(site, path):
    """Send a request without waiting for the answer, so that requests arrive in the order of these calls."""
    asked = socket.create_connection(("127.0.0.1", site.port), 10)
    asked.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
    return asked


def read_page(asked):
    """Return the page's body."""
    with asked, asked.makefile("rb") as file:
        return json.loads(file.read().partition(b"\r\n\r\n")[2])


def test_the_parent_answers_a_page_whose_greenlet_has_not_begun(serve):
    """The worker has accepted the connection and has read nothing of it."""
    site = serve(APP)
    pid = site.get("/ping")["pid"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        stall = ask(site, "/stall?port=%d" % server.getsockname()[1])
        stands_still, _ = server.accept()
        asked = [stall, *(ask(site, path) for path in ("/child-first", *["/ping"] * 5))]
        stands_still.close()
    assert [read_page(page)["pid"] for page in asked] == [pid] * 7


def test_a_child_of_a_full_worker_accepts_no_connection(serve):
    """The child would accept a client as soon as its copies of the worker's connections end."""
    site = serve(APP, args=["--worker-connections", "2"])
    pid = site.get("/ping")["pid"]
    with socket.create_connection(("127.0.0.1", site.port)):  # a client that sends nothing
        asked = [ask(site, path) for path in ("/child-first", "/ping")]
        assert [read_page(page)["pid"] for page in asked] == [pid] * 2


def test_a_program_is_started_at_once_while_redis_hangs(serve, redis_server):
    """A view that starts a program does not wait for another view's answer."""
    site = serve(APP, env={"SSEMUX_BROKER": redis_server.url})
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        redis_server.pause()
        try:
            waits = threading.Thread(target=lambda: json.dumps(try_to_publish(site)))
            waits.start()
            time.sleep(0.2)
            began = time.monotonic()
            site.get("/job/subprocess?port=0")
            assert time.monotonic() - began < 1
        finally:
            redis_server.resume()
        waits.join()


def try_to_publish(site):
    try:
        return site.publish("room:1", "waits")
    except OSError as error:
        return str(error)


def test_a_child_that_publishes_into_its_own_memory_gets_an_error(serve, third_party):
    site = serve(APP, env={"SSEMUX_BROKER": "memory:"})
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        site.get("/job/process?port=%d" % third_party.port)
        site.server.wait_log("SSEMUX_BROKER='memory:' stays in one process, and this one was forked", 5)


@pytest.mark.parametrize("how", ["return", "raise"])
def test_a_child_that_outlives_its_view_ends(serve, how):
    site = serve(APP)
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        child = site.get("/outlive/" + how)["pid"]
        stream.wait_for(b"of a child", 3)
        until(lambda: not is_running(child), 5, "the child lives on")
        site.publish("room:1", "after")
        stream.wait_for(b"after", 3)


def is_running(pid):
    """Return whether this process runs; a process that has ended and is not reaped yet does not."""
    try:
        return Path("/proc/%d/stat" % pid).read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended, maybe between open and read
        return False
