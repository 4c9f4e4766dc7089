"""A stream of `add_stream` without a rule for its channel: gunicorn does not start, and no server sends an event."""

from __future__ import annotations

import os

import pytest

from tests.harness.client import RawStream
from tests.harness.servers import FlaskRun, Gunicorn

UNRULED = "tests.apps.unruled:create_app()"

WHY = (
    "the stream /payroll is not served: no rule says who may read its channel 'payroll'; either add a rule, "
    "@mux.authorize('payroll'), or say that everyone may read it, add_stream('/payroll', channels=['payroll'], "
    "public=True)"
)

#: A folder without a gunicorn.conf.py, and so without our hooks.
ELSEWHERE = os.path.dirname(__file__)


def ask(server, path):
    with RawStream(server.port, path) as stream:
        stream.wait_headers(5)
        return stream.status


@pytest.mark.parametrize("args", [(), ("--preload",)], ids=["", "preload"])
def test_gunicorn_does_not_start(instance_env, args):
    server = Gunicorn(UNRULED, args=args, env=instance_env, cwd=ELSEWHERE)
    try:
        server.launch()
        server.wait_log("Worker failed to boot", 10)
        assert "flask_ssemux.errors.ConfigurationError: " + WHY in server.log
    finally:
        server.kill()


def test_it_starts_with_a_rule_that_comes_after_the_stream(instance_env):
    with Gunicorn(UNRULED, env={**instance_env, "RULE": "1"}, cwd=ELSEWHERE) as server:
        assert ask(server, "/payroll") == 200


def test_a_server_without_a_start_hook(instance_env):
    with FlaskRun(UNRULED, env=instance_env) as server:
        assert (ask(server, "/page"), server.log.count(WHY)) == (200, 1)
        assert ask(server, "/payroll") == 500
