"""The fortress (tests/apps/fortress.py) on gunicorn, one server for a module's tests, and requests to it."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.harness.client import RawStream
from tests.harness.servers import Gunicorn

FORTRESS = "tests.apps.fortress:create_app()"


class Site:
    """A running fortress."""

    def __init__(self, server):
        self.server = server
        self.port = server.port
        self.broker_url = server.env.get("SSEMUX_BROKER") or "sqlite:///%s/ssemux.sqlite3" % server.env["INSTANCE_PATH"]

    def stream(self, path="/events", **options):
        return RawStream(self.port, path, **options)

    def post(self, path, value):
        """Post JSON, lone surrogates included; return the answer."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server.url + path, json.dumps(value).encode("ascii"), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def publish(self, *events):
        """Publish each `(channel, data, event)`; return each one's result."""
        return self.post("/publish", events)


@pytest.fixture(scope="module")
def fortress(tmp_path_factory):
    """fortress(workers=1, **env): start a server that runs until the module's tests are over; return its Site."""
    running = []

    def start(workers=1, args=(), **env):
        folder = tmp_path_factory.mktemp("instance")
        server = Gunicorn(FORTRESS, workers, args=args, env={"INSTANCE_PATH": str(folder), **env})
        running.append(server.start())
        return Site(server)

    yield start
    for server in running:
        server.kill()
