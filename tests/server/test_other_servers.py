"""Servers other than gunicorn's gevent worker: what docs/servers.md says of each, with the real one.

For each server that streams: first bytes, an event, heartbeats, replay, an old generator, a client that leaves, pages
while there is the maximum of streams, the server's end. Each server that cannot stream logs that, and answers with a
`retry:`.
"""

from __future__ import annotations

import os
import re
import signal
import urllib.request
from contextlib import ExitStack
from functools import partial

import pytest

from tests.harness.other_servers import PythonServer, Pywsgi, Uwsgi, Waitress
from tests.harness.servers import FlaskRun, Gunicorn, Nginx
from tests.harness.waiting import until
from tests.server.conftest import LAB, QUICK, Site, assert_next_request_is_answered

#: A long heartbeat interval, so that nothing is noticed by writing.
IDLE = {"SSEMUX_HEARTBEAT": "30", "SSEMUX_CLIENT_TIMEOUT": "120"}

#: A folder without a gunicorn.conf.py; ours, which patches, lies in the working folder of other tests.
Gthread = partial(Gunicorn, LAB, cwd=os.path.dirname(__file__))

#: The module of applications in adapters.
ADAPTED = "tests.apps.adapted:"

SERVERS = {
    "gthread": partial(Gthread, args=("-k", "gthread", "--threads", "5")),
    "flask run": partial(FlaskRun, LAB),
    "waitress": partial(Waitress, LAB),
    "pywsgi": Pywsgi,
    "uwsgi, gevent": partial(Uwsgi, LAB, ("--gevent", "10", "--gevent-monkey-patch")),
    "uwsgi, threads": partial(Uwsgi, LAB, ("--threads", "5")),
    "uvicorn, a2wsgi": partial(PythonServer, "uvicorn", ("uvicorn", "--port", "PORT", ADAPTED + "by_a2wsgi")),
    "cheroot": partial(
        PythonServer, "cheroot", ("cheroot", "--bind", "127.0.0.1:PORT", "--threads=5", ADAPTED + "wsgi")
    ),
}

#: The servers that do not notice when a client leaves.
HYPERCORN = partial(PythonServer, "hypercorn", ("hypercorn", "-b", "127.0.0.1:PORT", "wsgi:" + ADAPTED + "wsgi"))

#: How many streams a process takes, and what the log says about that. The other servers have no such number.
LIMITED = {
    "gthread": (4, "gunicorn's gthread worker", "--threads 5"),
    "waitress": (3, "waitress", "threads=4"),
    "uwsgi, gevent": (8, "uWSGI", "--gevent 10"),
    "uwsgi, threads": (4, "uWSGI", "--threads 5"),
    "uvicorn, a2wsgi": (8, "a2wsgi", "WSGIMiddleware(workers=10)"),
    "cheroot": (4, "cheroot", "numthreads=5"),
}

SINGLE = "serves one request at a time, so the first stream would block every other"
UNPATCHED = "call gevent.monkey.patch_all() before anything else is imported"

REFUSING = {
    "sync": (partial(Gthread, args=("-k", "sync")), "start gunicorn with '-k gevent'"),
    "gthread, one thread": (partial(Gthread, args=("-k", "gthread")), "with --threads 1 " + SINGLE),
    "flask run --without-threads": (partial(FlaskRun, LAB, args=("--without-threads",)), "this server " + SINGLE),
    "waitress, one thread": (partial(Waitress, LAB, 1), "waitress with threads=1 " + SINGLE),
    "uwsgi": (partial(Uwsgi, LAB, ()), "uWSGI with --threads 1 " + SINGLE),
    "uwsgi, gevent, unpatched": (partial(Uwsgi, LAB, ("--gevent", "10")), UNPATCHED),
    "pywsgi, unpatched": (partial(Pywsgi, ("unpatched",)), UNPATCHED),
    "uvicorn, asgiref": (
        partial(PythonServer, "asgiref", ("uvicorn", "--port", "PORT", ADAPTED + "by_asgiref")),
        "asgiref's WsgiToAsgi with a thread pool of 1 " + SINGLE,
    ),
    "tornado": (
        partial(PythonServer, "tornado", ("tests.apps.adapted", "PORT")),
        "sends an answer only when it has ended",
    ),
    "tornado, threads": (
        partial(PythonServer, "tornado", ("tests.apps.adapted", "PORT", "5")),
        "Tornado's WSGIContainer sends an answer only when it has ended",
    ),
}


@pytest.fixture(scope="module", params=SERVERS)
def site(request, tmp_path_factory):
    """A running server with a short heartbeat, shared by the tests that leave it as it was."""
    env = {**QUICK, "INSTANCE_PATH": str(tmp_path_factory.mktemp("instance"))}
    with ExitStack() as stack:
        yield Site(stack.enter_context(SERVERS[request.param](env=env)))


@pytest.fixture
def start(running, instance_env):
    """start(kind, **env): one of SERVERS, or a function that makes one, for this test alone."""

    def begin(kind, **env):
        make = SERVERS.get(kind, kind)
        return Site(running(make(env={**QUICK, **instance_env, **env})))

    return begin


# -- servers that can stream -----------------------------------------------------


def test_first_bytes_events_and_heartbeats_come_at_once_and_missed_events_are_replayed(site):
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
        site.publish("room:1", "live")
        stream.wait_for(b"data: live\n", 1)
        stream.wait_for(b": heartbeat\n\n: heartbeat\n\n", 4)
        assert stream.longest_silence() < 1.5
        last = stream.last_event_id
    missed = site.publish("room:1", "missed")
    with site.stream("/events?channel=room:1", last=last) as stream:
        assert [event.own_id for event in stream.wait_events(2, 2)[1:]] == [missed]


def test_a_connection_that_is_not_announced_to_close_takes_the_next_request(site):
    assert_next_request_is_answered(site, "/old/bare")


def test_an_old_generator_is_repaired(site, request):
    with site.stream("/old/sleeper?seconds=2.5") as stream:
        stream.wait_for(b"data: first\n\n", 2)
        stream.wait_for(b"data: second\n\n", 5)
        if "uwsgi, threads" in request.node.name:
            assert stream.longest_silence() > 2
        else:
            assert stream.longest_silence() < 1.5
        assert stream.wait_end(2) == "clean"
    with site.stream("/old/poller?polls=2&every=0.2") as stream:
        stream.wait_for(b"data: 0\n\n", 2)
    site.server.wait_log("poller: GeneratorExit", 3)
    said = "wrapped streams get no heartbeats here while their generator sleeps"
    assert site.server.log.count(said) == ("uwsgi, threads" in request.node.name)
    assert "Traceback" not in site.server.log


@pytest.mark.parametrize("kind", SERVERS)
def test_pages_answer_however_many_streams_there_are_and_leaving_clients_are_noticed_at_once(start, kind):
    site = start(kind, **IDLE)
    most, server, setting = LIMITED.get(kind, (12, None, None))
    with site.herd(12) as herd:
        herd.wait_all(lambda stream: stream.ended or b"ssemux.hello" in stream.body, 5)
        assert all(site.get("/ping")["pid"] for _ in range(3))
        away = [stream for stream in herd if stream.ended]
        assert len(away) == 12 - most
        for stream in away:
            assert stream.ended == "clean" and 10000 <= stream.ending().retry <= 30000
            comment = " this worker serves %d streams, the maximum of %s with %s" % (most, server, setting)
            assert stream.ending().comments == (comment,)
        site.wait_figure("streams", most, 2)
    assert site.wait_figure("streams", 0, 5) < 2
    if server:
        line = r"%s serves \d+ requests at a time \(%s\).*: a process takes %d streams"
        site.server.wait_log(line % (re.escape(server), re.escape(setting), most), 1)


def test_the_limit_of_gthread_is_logged_at_start(start):
    assert ": a process takes 4 streams, the rest is kept for pages" in start("gthread").server.log


def test_an_option_above_the_servers_capacity_is_logged_and_pages_answer(start):
    site = start("waitress", SSEMUX_MAX_STREAMS="100")
    with site.herd(6) as herd:
        herd.wait_all(lambda stream: stream.ended or b"ssemux.hello" in stream.body, 5)
        assert sum(stream.ended is None for stream in herd) == 3
        assert site.get("/ping")["pid"]
    site.server.wait_log("SSEMUX_MAX_STREAMS=100 is out of reach: waitress serves 4 requests at a time", 1)


class FewFiles(FlaskRun):
    """`flask run` under `ulimit -n 200`."""

    def command(self):
        return ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", *super().command()]


def test_streams_in_threads_leave_files_to_pages(start):
    """Each stream has three files open; 160 files are for streams."""
    site = start(partial(FewFiles, LAB))
    with site.herd(60) as herd:
        herd.wait_all(lambda stream: stream.ended or b"ssemux.hello" in stream.body, 10)
        assert sum(stream.ended is None for stream in herd) == 53
        assert site.get("/ping")["pid"]


def test_where_a_client_that_leaves_is_not_noticed_streams_are_few_and_short_and_the_log_says_so(start):
    """hypercorn's threads. In this test a stream lives for 0.75 to 1.5 s, less a tick of the timer (0.25 s at most)."""
    site = start(HYPERCORN, UNNOTICED_LIFE="1.5", **IDLE)
    threads = min(32, os.cpu_count() + 4)
    for path in ("/events", "/old/sleeper?seconds=2", "/old/poller?polls=2&every=0.1"):
        with site.herd(threads + 2, path) as herd:
            herd.wait_all(lambda stream: stream.ended or b": ssemux\n" in stream.body, 5)
            assert sum(stream.ended is None for stream in herd) == threads // 2
            assert site.get("/ping")["pid"]
        until(
            lambda: site.get("/figures")["wrapped"] + site.get("/figures")["streams"] == 0,
            8,
            "streams are still counted",
        )
    with site.stream("/events") as stream:
        assert stream.wait_end(5) == "clean" and stream.ended_at - stream.opened_at > 0.45
        comment = " this server does not say when a client leaves, so its streams are short"
        assert stream.ending().comments == (comment,)
    line = r"hypercorn serves %d requests at a time \(a default executor of %d threads\).* it does not say when"
    site.server.wait_log(line % (threads, threads), 1)


def test_a_client_of_an_asgi_server_that_does_not_read_is_cut_off(start):
    """uvicorn's own buffer is full, and the adapter's too, so the connection itself must be closed."""
    site = start("uvicorn, a2wsgi", WRITE_TIMEOUT="2", SSEMUX_QUEUE_BYTES="100000000", SSEMUX_QUEUE_EVENTS="100000")
    with site.stream("/events?channel=room:1", rcvbuf=4096) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        stream.pause()
        for _ in range(20):
            site.post("/burst?count=10&size=100000")
        assert site.wait_figure("streams", 0, 10) < 10
    assert site.get("/ping")["pid"]


def test_uwsgis_own_protocol_behind_nginx(start, running):
    """nginx's bare `uwsgi_pass`, which buffers as `proxy_pass` does."""
    upstream = start(partial(Uwsgi, LAB, socket="socket"), **IDLE)
    block = "server { listen 127.0.0.1:LISTEN_PORT; include /etc/nginx/uwsgi_params; location / { PASS; } }"
    site = Site(running(Nginx(upstream.port, server=block.replace("PASS", "uwsgi_pass 127.0.0.1:UPSTREAM_PORT"))))
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 2)
        site.publish("room:1", "live")
        stream.wait_for(b"data: live\n", 1)
    assert site.wait_figure("streams", 0, 5) < 2


@pytest.mark.parametrize(
    "kind, number",
    [
        ("gthread", signal.SIGTERM),
        ("pywsgi", signal.SIGTERM),
        ("flask run", signal.SIGINT),
        ("uvicorn, a2wsgi", signal.SIGTERM),
    ],
)
def test_streams_end_with_a_retry_if_the_server_ends_gracefully(start, kind, number):
    site = start(kind)
    with site.herd(4) as herd:
        herd.wait_all(b"ssemux.hello", 3)
        site.server.signal(number)
        herd.wait_all(lambda stream: stream.ended, 5)
        assert {stream.ended for stream in herd} == {"clean"}
        assert {stream.ending().comments for stream in herd} == {(" this worker stops",)}
    assert site.server.wait(5) in (0, -number)  # uvicorn ends by the signal that it was sent


@pytest.mark.parametrize("kind", ["uwsgi, gevent", "waitress"])
def test_a_server_that_ends_abruptly_loses_nothing(start, kind):
    site = start(kind)
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        site.server.signal(signal.SIGINT if kind.startswith("uwsgi") else signal.SIGTERM)
        stream.wait_end(5)
        last = stream.last_event_id
    site.server.wait(5)
    site = start(kind)
    missed = site.publish("room:1", "missed")
    with site.stream("/events?channel=room:1", last=last) as stream:
        assert [event.own_id for event in stream.wait_events(2, 2)[1:]] == [missed]


def test_each_worker_of_uwsgi_opens_the_store_itself(start):
    """tests/apps/preloaded.py publishes when it is imported, in uWSGI's master, which forks without Python's fork
    hooks.
    """
    site = start(partial(Uwsgi, "tests.apps.preloaded:app"))
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(b"ssemux.hello", 3)
        site.publish("room:1", "there")
        stream.wait_for(b"there", 2)
        (worker,) = site.server.worker_pids()
        assert stores(worker) == stores(site.server.pid)  # its own connection, not an inherited one


def stores(pid):
    """Return how often the process has the store's file open, inherited or not."""
    folder = "/proc/%d/fd/" % pid
    return sum(os.readlink(folder + file).endswith("/ssemux.sqlite3") for file in os.listdir(folder))


# -- servers that cannot ---------------------------------------------------------


@pytest.mark.parametrize("kind", REFUSING)
def test_a_server_that_cannot_stream_says_so_and_keeps_no_client_waiting(start, kind):
    make, why = REFUSING[kind]
    site = start(make)
    for path in ("/events", "/old/sleeper"):
        with site.stream(path) as stream:
            assert stream.wait_end(3) == "clean"
            assert stream.status == 200 and 10000 <= stream.ending().retry <= 30000
            assert why in stream.body.decode()
    with urllib.request.urlopen("http://127.0.0.1:%d/ping" % site.port, timeout=3) as answer:
        assert answer.status == 200
    until(lambda: site.server.log.count("a stream was refused: ") == 1, 2, "it is not in the log, once")
