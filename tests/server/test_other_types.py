"""Old views under ``streaming`` whose bodies are no event streams (tests/apps/typed.py): they pass unchanged."""

from __future__ import annotations

import re
import signal
import time
import urllib.request
from contextlib import ExitStack

import pytest

from tests.harness.client import RawStream
from tests.harness.servers import FlaskRun, Gunicorn
from tests.server.conftest import Site

APP = "tests.apps.typed:create_app()"
OPENING = b"retry: 3000\n: ssemux\n"
ASKS, ANY = {"Accept": "text/event-stream"}, {"Accept": "*/*"}


@pytest.fixture(scope="module", params=["gunicorn", "flask run"])
def typed(request, tmp_path_factory):
    """The application on greenlets and on threads: one server for the tests of this module that do not stop it."""
    env = {"INSTANCE_PATH": str(tmp_path_factory.mktemp("instance"))}
    with (Gunicorn if request.param == "gunicorn" else FlaskRun)(APP, env=env) as server:
        yield Site(server)


def read(site, *requests, **options):
    """Return whole responses of requests that are made at the same time: paths, or pairs of path and headers."""
    requests = [(request, ASKS) if isinstance(request, str) else request for request in requests]
    with ExitStack() as stack:
        streams = [stack.enter_context(RawStream(site.port, path, headers, **options)) for path, headers in requests]
        for stream in streams:
            stream.wait_end(10)
    return streams


#: The views with the Cache-Control and the Content-Encoding of their responses.
UNCHANGED = {
    "/ndjson": ("no-cache, no-transform", "identity"),
    "/csv": ("private, max-age=60, no-transform", "identity"),
    "/binary": ("no-cache, no-transform", "identity"),
    "/partial": ("no-cache, no-transform", "identity"),
    "/html": ("no-cache, no-transform", "identity"),
    "/empty": ("no-cache, no-transform", "identity"),
    "/large": ("no-cache, no-transform", "identity"),
    "/gzipped": ("no-cache, no-transform", "gzip"),
}
SAME_HEADERS = ("content-type", "content-length", "content-range", "content-disposition")


def test_a_body_of_another_type_is_the_same_as_without_the_decorator(typed):
    bare, wrapped = read(typed, *["/bare" + path for path in UNCHANGED]), read(typed, *UNCHANGED)
    for (path, (cache, encoding)), before, after in zip(UNCHANGED.items(), bare, wrapped):
        if path == "/csv" and before.status == 500:  # Flask 1.1 accepts no generator
            assert (after.body, after.headers["content-type"]) == (b"id,name\n1,ada\n2,grace\n", "text/csv")
        else:
            assert (after.status, after.ended, after.framing) == (before.status, "clean", before.framing), path
            assert [after.headers.get(name) for name in SAME_HEADERS] == [
                before.headers.get(name) for name in SAME_HEADERS
            ]
            assert after.body == before.body, path
        assert after.headers["x-accel-buffering"] == "no"
        assert set(after.headers["cache-control"].split(", ")) == set(cache.split(", ")), path
        assert after.headers["content-encoding"] == encoding
    typed.server.wait_log(
        r"'html' yields events, but says that its response is text/html; charset=utf-8, which Event", 2
    )


def test_a_file_is_sent_by_the_server_itself(typed):
    bare, wrapped = read(typed, "/bare/file", "/file")
    assert wrapped.body == bare.body == b"id,name\n1,ada\n2,grace\n"
    assert {**wrapped.headers, "date": 0} == {**bare.headers, "date": 0}


def test_head_is_answered_as_without_the_decorator(typed):
    bare, wrapped = (ask_for_head(typed, path) for path in ("/bare/binary", "/binary"))
    assert (wrapped.status, wrapped.headers["Content-Length"]) == (200, "4")
    assert wrapped.headers["Content-Type"] == bare.headers["Content-Type"]
    typed.wait_figure("wrapped", 0, 3)


def ask_for_head(site, path):
    with urllib.request.urlopen(urllib.request.Request(site.server.url + path, method="HEAD"), timeout=5) as answer:
        return answer


def test_an_event_stream_in_another_spelling_is_one(typed):
    (stream,) = read(typed, "/events")
    assert stream.headers["content-type"] == "text/event-stream"
    assert [event.data for event in stream.events()] == ["1", "2"]
    assert stream.body.startswith(b"retry: ") and b"data: 1\n\n: heartbeat\n" in stream.body


def test_raw_text_that_claims_to_be_events_gets_no_bytes_and_is_logged(typed):
    for stream in [*read(typed, "/tokens", ("/tokens", ANY), method="POST"), *read(typed, ("/tokens", ANY))]:
        assert (stream.status, stream.ended, stream.body) == (200, "clean", b"Once upon\n\na time")
        assert stream.headers["content-type"] == "text/event-stream"
    typed.server.wait_log("the view 'tokens' says that its response is text/event-stream, but the body is no event", 2)
    assert "Once" not in typed.server.log  # a body may be private
    assert typed.server.log.count("'tokens' says") == 1


def test_what_comes_before_the_first_event_depends_on_the_request(typed):
    """An EventSource gets the opening at once; other readers by GET with the first event, or after a heartbeat's time.
    A POST gets nothing.
    """
    asked, other, quick = read(typed, "/late", ("/late", ANY), ("/steady?pause=0", ANY))
    (posted,) = read(typed, "/late", method="POST")
    assert asked.body.startswith(b"retry: ") and asked.first_byte_at - asked.opened_at < 0.9
    assert other.body.startswith(b": heartbeat\n") and other.headers_at < other.first_byte_at
    assert posted.body == b"data: 1\n\n"
    assert quick.body == OPENING + b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize(
    "path, method, status, ended",
    [
        ("/fails", "GET", 500, "clean"),
        ("/fails?after=1", "GET", 200, "severed"),
        ("/fails?type=text/event-stream", "POST", 500, "clean"),
        ("/fails?type=text/event-stream", "GET", 200, "clean"),
    ],
)
def test_a_generator_that_fails(typed, path, method, status, ended):
    """A client must not take half a table for the whole. EventSource never comes back after a 500: it gets an end."""
    (stream,) = read(typed, path, method=method)
    assert stream.status == status
    assert stream.ended == ended or stream.framing == "close"  # whose end looks the same
    typed.wait_figure("wrapped", 0, 3)


def test_a_client_that_leaves_ends_it(typed):
    with RawStream(typed.port, "/endless") as stream:
        stream.wait_for(b'{"n": 2', 3)
        assert stream.body.startswith(b'{"n": 1')
    typed.server.wait_log("endless: made", 5)
    typed.wait_figure("wrapped", 0, 3)


def test_it_waits_for_a_slow_client(typed):
    before = len(re.findall(r"endless: made (\d+)", typed.server.log))
    with RawStream(typed.port, "/endless?every=0&size=10000", rcvbuf=4096) as stream:
        stream.wait_for(b'{"n": 2', 3)
        stream.pause()
        time.sleep(1.0)
    made = typed.server.wait_log(r"(?s)(?:endless: made \d+.*){%d}endless: made (\d+)" % before, 10).group(1)
    assert int(made) * 10000 < 20e6


def test_a_full_worker_answers_503_to_who_does_not_come_back(gunicorn):
    site = Site(gunicorn(APP, env={"SSEMUX_MAX_STREAMS": "1"}))
    with RawStream(site.port, "/endless") as stream:
        stream.wait_for(b'{"n": 1', 3)
        for path, method in (("/ndjson", "GET"), ("/events", "POST")):
            (refused,) = read(site, path, method=method)
            assert (refused.status, refused.headers["content-type"]) == (503, "application/json")
            assert 10 <= int(refused.headers["retry-after"]) <= 30 and b"SSEMUX_MAX_STREAMS" in refused.body
        assert read(site, "/events")[0].body.startswith(b"retry: ")


def test_a_deploy_waits_for_bodies_that_nothing_can_resume(gunicorn):
    """An event stream ends at once, since its client comes back. A table is sent to its end."""
    site = Site(gunicorn(APP, args=("--graceful-timeout", "20")))
    with RawStream(site.port, "/endless?limit=100&every=0.04") as table, RawStream(
        site.port, "/events?pause=60", ASKS
    ) as events:
        table.wait_for(b'{"n": 2', 3)
        events.wait_for(b"retry: ", 3)
        began = time.monotonic()
        site.server.signal(signal.SIGTERM)
        assert events.wait_end(4) == "clean"
        assert table.wait_end(15) == "clean"
        assert table.body.count(b"\n") == 100 and table.ended_at - began > 3.2
    site.server.wait(10)


def test_a_sync_worker_serves_what_is_no_event_stream(gunicorn):
    site = Site(gunicorn(APP, args=("-k", "sync")))
    assert read(site, "/ndjson?pause=0")[0].body == b'{"n": 1}\n{"n": 2}\n'
    assert b"sync worker" in read(site, "/events?pause=0")[0].body
