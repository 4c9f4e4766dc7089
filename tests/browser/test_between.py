"""What breaks between a server and its pages, in Chromium and in Firefox, behind nginx.

Whatever breaks, each tab gets each event once and in order, and afterwards all tabs share one connection. One server
and one browser of each kind serve all tests; the test counts what is published, also when workers die.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from flask_ssemux import Publisher
from tests.browser.tabs import BROWSERS, WAIT, Tabs
from tests.harness.redis import RedisServer
from tests.harness.servers import Gunicorn, Nginx

APP = "tests.apps.tabs:create_app()"
CONF = "python:flask_ssemux.gunicorn_conf"
ENV = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "3", "SSEMUX_RETRY": "100"}

#: Longer than the delay of its timers that ssemux.js ignores.
ASLEEP = 7.0

#: Two time-outs of the polyfill and a bit more.
IDLE = 6.5

#: The maximum seconds from an event's publishing to the page, behind a hop that holds streams back.
LATE = 2.0

HOLDS_ALL = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;"

_rooms = itertools.count(1)


@pytest.fixture(scope="module")
def stack():
    with ExitStack() as made:
        yield made


@pytest.fixture(scope="module")
def instance(tmp_path_factory):
    return str(tmp_path_factory.mktemp("instance"))


@pytest.fixture(scope="module")
def server(stack, instance):
    return stack.enter_context(Gunicorn(APP, config=CONF, env={**ENV, "INSTANCE_PATH": instance}))


@pytest.fixture(scope="module")
def proxy(stack, server):
    return stack.enter_context(Nginx(server.port))


@pytest.fixture(scope="module")
def publisher(stack, server, instance):
    return stack.enter_context(Publisher("sqlite:///%s/ssemux.sqlite3" % instance))


@pytest.fixture(scope="module", params=list(BROWSERS))
def tabs(request, server, proxy):
    with Tabs(server, request.param, proxy.url, seconds=300) as made:
        yield made


class Room:
    """A channel of one test, the tabs that read it, and its numbers."""

    def __init__(self, tabs, publisher):
        self.name = "room:%d" % next(_rooms)
        self.tabs, self._publisher = tabs, publisher
        self.readers = []
        self._counts = Counter()

    def open(self, count, *channels, **options):
        for number in range(len(self.readers), len(self.readers) + count):
            name = "%s/%d" % (self.name, number)
            self.tabs.open(name, self.name, *channels, **options)
            self.readers.append(name)
        return self.readers

    def say(self, count=1):
        for _ in range(count):
            self._counts[self.name] += 1
            self._publisher.publish(self.name, self._counts[self.name], event="n")

    def wait(self):
        """Wait until all have received the last number; then check that each received each number once."""
        self.tabs.wait_number(self._counts[self.name], self.name, *self.readers)
        for reader in self.readers:
            assert self.tabs.numbers(reader, self.name)[0] == 1, (reader, self.tabs.describe())

    def close(self, count):
        for _ in range(count):
            self.tabs.command("close", self.readers.pop(0))

    def again(self, state="open"):
        return self.tabs.again(*self.readers, state=state)


@pytest.fixture
def room(tabs, publisher):
    made = Room(tabs, publisher)
    yield made
    made.close(len(made.readers))


def test_ten_tabs_have_one_connection_and_each_has_each_event_once(room, tabs, publisher):
    own = ["%s-%d" % (room.name, number) for number in range(10)]
    for channel in own:
        room.open(1, channel)
    tabs.wait_streams(1, room.name, *own)
    room.say(20)
    for channel in own:
        publisher.publish(channel, 1, event="n")
    publisher.broadcast(1, event="n")
    room.wait()
    for reader, channel in zip(room.readers, own):
        tabs.wait_number(1, None, reader)
        assert tabs.numbers(reader, channel) == [1]
        assert len(tabs.all(reader, "event")) == 20 + 1 + 1, "an event of a channel that it does not read, or one twice"
    room.close(8)
    tabs.wait_streams(1, room.name, *own[8:])
    assert not tabs.all(what="thrown")


def test_the_leading_tab_is_closed(room, tabs):
    room.open(4)
    for _ in range(3):
        room.say(3)
        room.close(1)
        room.say(3)
        room.wait()
        tabs.wait_streams(1, room.name)
    assert not tabs.all(what="thrown")


def test_the_worker_is_killed(room, tabs, server):
    room.open(3)
    room.say(5)
    with room.again("connecting"), room.again():
        (worker,) = server.worker_pids()
        os.kill(worker, signal.SIGKILL)
        room.say(5)
    room.say(5)
    room.wait()
    server.wait_workers(1, WAIT, [worker])
    tabs.wait_streams(1, room.name)


def test_a_deploy(room, tabs, server):
    room.open(3)
    workers = server.worker_pids()
    with room.again("connecting"), room.again():
        server.signal(signal.SIGHUP)
        room.say(5)
    room.say(5)
    room.wait()
    server.wait_workers(1, WAIT, workers)
    tabs.wait_streams(1, room.name)


def test_the_server_is_away_for_a_while(room, tabs, server):
    room.open(3)
    room.say(5)
    with room.again("connecting"):
        server.stop(timeout=10)
    room.say(5)
    with room.again():
        server.start()
    room.say(5)
    room.wait()
    tabs.wait_streams(1, room.name)


def test_a_hop_falls_silent_and_continues(room, tabs, proxy):
    room.open(3)
    room.say(5)
    room.wait()
    workers = proxy.worker_pids()
    try:
        with room.again("stale"), room.again("connecting"):
            for worker in workers:
                os.kill(worker, signal.SIGSTOP)
            room.say(5)
    finally:
        with room.again():
            for worker in workers:
                os.kill(worker, signal.SIGCONT)
    room.say(5)
    room.wait()
    assert {e["it"]["message"] for e in tabs.all(room.readers[0], "error")} == {"nothing came for 3 s"}
    tabs.wait_streams(1, room.name)


def test_the_laptop_sleeps(room, tabs):
    """No tab waits after it has woken up."""
    room.open(2)
    tabs.be_patient()
    room.say(5)
    room.wait()
    tabs.signal(signal.SIGSTOP)
    try:
        tabs.ask("/cut", b"")
        room.say(5)
        time.sleep(ASLEEP)  # this is what happens during sleep
    finally:
        tabs.signal(signal.SIGCONT)
    room.wait()
    room.say(5)
    room.wait()
    tabs.wait_streams(1, room.name)


def test_headers_from_a_function_are_made_for_each_request(room, tabs, publisher):
    (reader,) = room.open(1, query={"token": "ann"})

    def notes():
        return [e["data"] for e in tabs.all(reader, "event", name="n") if e.get("channel") is None]

    publisher.send_to_user("ann", "for ann", event="n")
    tabs.wait_for(lambda _: notes() == ["for ann"], WAIT)
    tabs.command("run", reader, code="void (window.token = 'bob')")
    with room.again():
        tabs.ask("/cut", b"")
    publisher.send_to_user("ann", "too late", event="n")
    publisher.send_to_user("bob", "for bob", event="n")
    room.say()
    room.wait()
    tabs.wait_for(lambda _: notes() == ["for ann", "for bob"], WAIT)


def test_the_polyfill_and_the_native_client_when_idle_and_when_the_worker_is_killed(room, tabs, server):
    stream = "/events?channel=" + room.name
    tabs.command("open", "clients", path="/", query={"stream": stream, "names": "n", "heartbeat": 3000})
    clients = ("polyfill", "native")
    marks = {who: len(tabs.all(who, "open")) for who in clients}
    for who in clients:
        tabs.wait_all(who, "open", timeout=WAIT)
    if tabs.browser == "firefox":  # in Chromium: test_demo.py
        tabs.let_pass(IDLE, until=lambda tabs: any(tabs.all(who, "error") for who in clients))
    room.say(3)
    for who in clients:
        tabs.wait_all(who, "event", 3, name="n", timeout=WAIT)
    os.kill(server.worker_pids()[0], signal.SIGKILL)
    room.say(3)
    for who in clients:
        heard = tabs.wait_all(who, "event", 6, name="n", timeout=WAIT)
        assert [int(entry["data"]) for entry in heard] == [1, 2, 3, 4, 5, 6], (marks, tabs.describe())
    tabs.command("close", "clients")


def test_a_hop_that_holds_streams_back_until_they_end(room, tabs, server, running):
    """Each event arrives within two seconds, also a page's first, and none is lost over a deploy."""
    held = running(Nginx(server.port, HOLDS_ALL))
    room.open(3, site=held.url)
    tabs.wait_streams(1, room.name)
    for reader in room.readers:
        assert tabs.all(reader, "state", state="open")[0]["transport"] == "poll"
    published = []
    for _ in range(12):
        published.append(time.time())
        room.say()
        time.sleep(0.25)  # an event in the middle of a poll, at its end, after it
    room.wait()
    for reader in room.readers:
        came = [entry["at"] for entry in tabs.all(reader, "event", name="n")]
        assert max(at - said for said, at in zip(published, came)) < LATE, tabs.describe()
    old = server.worker_pids()
    server.signal(signal.SIGHUP)
    room.say(5)
    room.wait()  # whether pages notice the deploy depends on whether a poll waited when it began
    server.wait_workers(1, WAIT, gone=old)
    room.say(5)
    room.wait()
    assert not tabs.all(what="thrown")


def test_the_page_is_notified_while_the_broker_is_away(tabs, running, instance):
    with RedisServer() as redis:
        server = running(Gunicorn(APP, config=CONF, env={**ENV, "INSTANCE_PATH": instance, "SSEMUX_BROKER": redis.url}))
        with Publisher(redis.url) as publisher:
            room = Room(tabs, publisher)
            (reader,) = room.open(1, site=running(Nginx(server.port)).url)
            room.say(3)
            room.wait()
            redis.stop()
            tabs.wait_all(reader, "degraded", timeout=WAIT)
            assert tabs.all(reader, "state")[-1]["state"] == "open"
            redis.restart()
            tabs.wait_all(reader, "restored", timeout=WAIT)
            room.say(3)
            room.wait()
            room.close(1)
