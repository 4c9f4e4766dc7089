"""Servers that run the lab application (tests/apps/lab.py), and requests to them."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from tests.harness.client import Herd, RawStream
from tests.harness.waiting import until

LAB = "tests.apps.lab:create_app()"

#: Time-outs are scaled down, so that no test sleeps for 20 s.
QUICK = {"SSEMUX_HEARTBEAT": "1", "SSEMUX_CLIENT_TIMEOUT": "6"}


class Site:
    """A running server, with the requests that a program would make."""

    def __init__(self, server):
        self.server = server
        self.port = server.port

    def stream(self, path="/events", user=None, last=None, **options):
        headers = {"X-User": user, "Last-Event-ID": last}
        return RawStream(self.port, path, {k: v for k, v in headers.items() if v is not None}, **options)

    def request(self, path, headers, **options):
        return RawStream(self.port, path, headers, **options)

    def herd(self, count, path="/events", **options):
        return Herd(self.port, count, path, **options)

    def get(self, path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.port, path), timeout=10) as answer:
            return json.load(answer)

    def post(self, path, **values):
        request = urllib.request.Request(
            "http://127.0.0.1:%d%s" % (self.port, path),
            json.dumps(values).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def publish(self, channel, data, event=None):
        return self.post("/publish", channel=channel, data=data, event=event)["cursor"]

    def figures(self):
        return self.get("/figures")

    def wait_figure(self, name, value, timeout):
        """Wait until one of the worker's figures has this value; return how many seconds that took."""
        started = time.monotonic()
        until(lambda: self.figures()[name] == value, timeout, lambda: "%s is %s" % (name, self.figures()))
        return time.monotonic() - started


def assert_next_request_is_answered(site, path):
    """Read a stream to its end, then reuse its connection as a browser does, unless the answer forbids it."""
    client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    with closing(client):
        client.request("GET", path)
        stream = client.getresponse()
        assert stream.status == 200 and stream.read()
        if client.sock is not None:  # http.client closes the connection if the answer says so
            client.request("GET", "/ping")
            assert client.getresponse().status == 200


def pytest_generate_tests(metafunc):
    """Run the tests of a module with ``BOTH_TRANSPORTS`` over both transports, except those marked
    ``any_transport``.
    """
    wanted = getattr(metafunc.module, "BOTH_TRANSPORTS", False)
    if wanted and "transport" in metafunc.fixturenames and not metafunc.definition.get_closest_marker("any_transport"):
        metafunc.parametrize("transport", ["generator", "handoff"], indirect=True)


@pytest.fixture
def transport(request):
    """The value of SSEMUX_TRANSPORT."""
    return getattr(request, "param", "auto")


@pytest.fixture
def serve(gunicorn, transport):
    """serve(workers=1, **options): the lab application on gunicorn with the gevent worker."""

    def start(app=LAB, env=None, transport=transport, **options):
        env = {"SSEMUX_TRANSPORT": transport, **QUICK, **(env or {})}
        return Site(gunicorn(app, env=env, **options))

    return start


@pytest.fixture
def serve_threads(flask_run):
    """The lab application under `flask run`: threads, nothing monkey-patched."""

    def start(app=LAB, env=None, **options):
        return Site(flask_run(app, env={**QUICK, **(env or {})}, **options))

    return start


@pytest.fixture(params=["generator", "handoff", "flask run", "handoff, redis", "flask run, redis"])
def site(request):
    """The lab application on gunicorn with either transport, and in threads; on each broker that processes can
    share.
    """
    kind, _, broker = request.param.partition(", ")
    env = {"SSEMUX_BROKER": request.getfixturevalue("redis_url")} if broker else {}
    if kind == "flask run":
        return request.getfixturevalue("serve_threads")(env=env)
    return request.getfixturevalue("serve")(transport=kind, env=env)


@pytest.fixture
def lab_env(instance_env):
    """The environment of a process beside the servers of this test."""
    return {**os.environ, **QUICK, **instance_env, "FLASK_APP": LAB}
