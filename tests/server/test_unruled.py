"""gunicorn does not start if a stream of `add_stream` has no rule for its channel, or if two endpoints have one URL.

Servers without such a start log why at the first request.
"""

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

COLLISION = (
    "GET /events is answered by the endpoint 'ssemux.events', and the endpoint 'calendar' for the same URL gets no "
    "request: set SSEMUX_URL to a path that no other endpoint has"
)

#: A folder without a gunicorn.conf.py, and so without our hooks.
ELSEWHERE = os.path.dirname(__file__)


def ask(server, path):
    with RawStream(server.port, path) as stream:
        stream.wait_headers(5)
        return stream.status


@pytest.mark.parametrize(
    "args, env, why",
    [((), {}, WHY), (("--preload",), {}, WHY), ((), {"RULE": "1", "PAGE": "/events"}, COLLISION)],
    ids=["rule", "preload", "collision"],
)
def test_gunicorn_does_not_start(instance_env, args, env, why):
    server = Gunicorn(UNRULED, args=args, env={**instance_env, **env}, cwd=ELSEWHERE)
    try:
        server.launch()
        server.wait_log("Worker failed to boot", 10)
        assert "flask_ssemux.errors.ConfigurationError: " + why in server.log
    finally:
        server.kill()


def test_it_starts_with_a_rule_that_comes_after_the_stream_and_a_page_for_what_is_left(instance_env):
    env = {**instance_env, "RULE": "1", "PAGE": "/<path:page>"}
    with Gunicorn(UNRULED, env=env, cwd=ELSEWHERE) as server:
        assert (ask(server, "/payroll"), ask(server, "/events")) == (200, 200)


def test_a_server_without_a_start_hook(instance_env):
    with FlaskRun(UNRULED, env={**instance_env, "PAGE": "/events"}) as server:
        assert (ask(server, "/page"), server.log.count(WHY), server.log.count(COLLISION)) == (200, 1, 1)
        assert ask(server, "/payroll") == 500
