"""The samples of deploy/ while gunicorn is away: a stream's URL answers with a time to come back, and other pages are
errors.

A browser's EventSource never comes back after a 502, 503 or 504. At the end gunicorn runs again, and so do streams.
"""

from __future__ import annotations

import re
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.harness.client import RawStream
from tests.harness.servers import Gunicorn
from tests.harness.waiting import until
from tests.proxies.fleet import HEADERS, HELLO, SETUPS

STREAMS = ("/events", "/events?channel=room:1", "/api/jobs/stream")
PAGES = ("/", "/events/ssemux.js", "/eventsource")

DEPLOYED = [setup for setup in SETUPS if "deploy/" in setup.config]


@pytest.fixture(scope="module")
def gunicorn_that_stops(tmp_path_factory):
    env = {"INSTANCE_PATH": str(tmp_path_factory.mktemp("instance"))}
    server = Gunicorn("tests.apps.lab:create_app()", env=env)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def proxies(gunicorn_that_stops, pem):
    """The running samples; those whose packages are missing are left out, and the other test files name them."""
    with ExitStack() as stack:
        made = {}
        for setup in DEPLOYED:
            try:
                made[setup] = setup.make(gunicorn_that_stops.port, pem)
            except (pytest.skip.Exception, pytest.fail.Exception):
                continue
            stack.callback(made[setup].kill)
            made[setup].launch()
        for server in made.values():
            server.wait_ready()
        yield made


@pytest.fixture
def ask(proxies, pem, request):
    """ask(path): the whole answer of one proxy, or the beginning of a stream up to its hello."""
    setup = request.param
    if setup not in proxies:
        pytest.skip("%s is missing" % setup.proxy)
    tls = ssl.create_default_context(cafile=str(pem)) if setup.tls else None

    def answer(path):
        with RawStream(proxies[setup].port, path, HEADERS, tls=tls) as stream:
            stream.wait_for(lambda stream: stream.ended or HELLO in stream.body, 10)
            return stream.status, stream.headers or {}, stream.body

    return answer


def is_away(ask, path):
    """Return whether the answer is an empty stream with a `retry:`. Varnish's probe needs a second to notice."""
    status, headers, body = ask(path)
    is_stream = status == 200 and headers.get("content-type") == "text/event-stream"
    return is_stream and re.fullmatch(rb"retry: [2-5]\d{3}\n", body)


@pytest.mark.parametrize("ask", DEPLOYED, ids=str, indirect=True)
def test_while_gunicorn_is_away(ask):
    """Ask all at the same time, because HAProxy tries for three seconds."""
    with ThreadPoolExecutor(len(STREAMS + PAGES)) as pool:
        streams = {path: pool.submit(until, lambda p=path: is_away(ask, p), 5, path) for path in STREAMS}
        pages = [pool.submit(ask, path) for path in PAGES]
    for path, stream in streams.items():
        assert not stream.exception(), ask(path)
    assert {page.result()[0] for page in pages} <= {502, 503}


@pytest.mark.parametrize("ask", DEPLOYED, ids=str, indirect=True)
def test_streams_when_it_is_back(ask, gunicorn_that_stops):
    if not gunicorn_that_stops.running:
        gunicorn_that_stops.start()
    until(lambda: HELLO in ask("/events")[2], 5, lambda: repr(ask("/events")))
