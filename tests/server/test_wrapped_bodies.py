"""Old streams whose bodies the application wraps after the view, and systems without epoll."""

from __future__ import annotations

from contextlib import ExitStack

import flask
import pytest

from tests.harness.client import RawStream

pytestmark = pytest.mark.any_transport


@pytest.mark.parametrize("how", ["generator", "iterator"])
def test_a_body_that_is_wrapped_gets_heartbeats(gunicorn, how):
    server = gunicorn("tests.apps.wrapping:app", env={"HOW": how})
    with RawStream(server.port, "/old") as stream:
        stream.wait_for(b"data: 1\n\n: heartbeat\n: heartbeat\n", 4)
        assert stream.status == 200


def test_a_response_that_is_replaced_streams_and_the_log_says_why_it_has_no_heartbeats(gunicorn):
    server = gunicorn("tests.apps.wrapping:app", env={"HOW": "response"})
    with RawStream(server.port, "/old") as stream:
        stream.wait_for(b"data: 1\n\n", 4)
        server.wait_log("the wrapped stream 'old' gets no heartbeats while its generator sleeps: something", 3)


@pytest.mark.parametrize("how", ["gzip", "type"])
def test_nothing_is_added_to_what_is_made_another_body_after_the_view(gunicorn, how):
    """A heartbeat within compressed bytes destroys all that follows."""
    server = gunicorn("tests.apps.wrapping:app", env={"HOW": how})
    with RawStream(server.port, "/old") as stream:
        assert stream.wait_end(10) == "clean"
        body = bytes(stream.body)
    if how == "type":
        assert body == b"data: 1\n\ndata: 2\n\n"
    else:
        assert body.endswith(b"ssemux\ndata: 1\n\ndata: 2\n\n")  # the harness decompresses it
        server.wait_log("the wrapped stream 'old' gets no heartbeats while its generator sleeps: something", 3)


def test_async_views_and_snapshots_take_turns_under_gevent(gunicorn):
    """Of two async views that wait at the same time in one gevent worker, Flask itself lets one fail."""
    pytest.importorskip("asgiref")
    if not hasattr(flask.Flask, "ensure_sync"):
        pytest.skip("Flask 1 has no async views")
    server = gunicorn("tests.apps.awaiting:app")
    with ExitStack() as stack:
        paths = ["/old", "/events?channel=jobs"] * 5
        streams = [stack.enter_context(RawStream(server.port, path)) for path in [*paths, "/page"]]
        for path, stream in zip(paths, streams):
            stream.wait_for(b"data: 1\n\n" if path == "/old" else b'data: {"state":1}\n', 10)
        assert streams[-1].wait_end(10) == "clean"
        assert {stream.status for stream in streams} == {200}


#: What macOS lacks: gunicorn runs on what is left.
WITHOUT_EPOLL = """
import select
for name in [name for name in dir(select) if name.startswith("EPOLL") or name in ("epoll", "POLLRDHUP")]:
    delattr(select, name)
"""


def test_a_system_without_epoll_streams_by_the_generator(gunicorn, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_EPOLL)
    env = {"PYTHONPATH": str(tmp_path), "LIBEV_FLAGS": "1", "GEVENT_BACKEND": "select", "SSEMUX_HEARTBEAT": "0.5"}
    server = gunicorn("tests.apps.plain:create_app()", env=env)
    with RawStream(server.port, "/events") as stream:
        stream.wait_for(b": heartbeat\n\n: heartbeat\n\n", 4)
    assert "Traceback" not in server.log
