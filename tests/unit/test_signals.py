"""Signals: receivers learn which streams open and end, whatever they do, and cost nothing while there are none."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from importlib.metadata import version

import flask
import pytest

import flask_ssemux
from flask_ssemux import stream_closed, stream_opened
from flask_ssemux.testing import frozen, stream
from tests.harness.waiting import until

#: Since Flask 2.3 blinker is installed with it.
NEEDS_BLINKER = tuple(map(int, version("flask").split(".")[:2])) >= (2, 3)


@pytest.fixture
def app(make_app):
    mux = flask_ssemux.SSEMux()
    mux.identify(lambda: flask.request.headers.get("X-User"))
    mux.authorize("room:<name>")(lambda user_id, name: name != "closed")
    return make_app(mux, SECRET_KEY="for tests")


@contextmanager
def connected(app, signal, receiver):
    with signal.connected_to(receiver, app):
        yield


@pytest.fixture
def noted(app):
    """The signals so far: the stream's user, its channels, and its end's reason if it has ended."""
    found = []

    def note_opened(sender, user, channels):
        assert sender is app and flask.request.path == "/events"
        found.append((user, channels))

    def note_closed(sender, user, channels, reason):
        assert sender is app and flask.current_app == app and not flask.has_request_context()
        found.append((user, channels, reason))

    with connected(app, stream_opened, note_opened), connected(app, stream_closed, note_closed):
        yield found


def sender(app):
    return app.extensions["ssemux"].worker.signals


CHANNELS = ("room:1", "user:7", "*")


def test_a_stream_that_opens_and_ends(app, noted):
    with stream(app, channels=["room:1"], headers={"X-User": "7"}):
        assert noted == [("7", CHANNELS)]
    assert noted == [("7", CHANNELS), ("7", CHANNELS, "its client left")]
    assert not sender(app)._opened


def test_the_reason_is_why_the_stream_was_ended(app, noted):
    with stream(app) as opened, app.app_context():
        flask_ssemux.disconnect(channel="*", reason="closing time")
        opened.wait_closed()
    assert noted == [(None, ("*",)), (None, ("*",), "closing time")]


def test_a_request_that_opens_no_stream_sends_nothing(app, noted):
    with app.app_context():
        ticket = flask_ssemux.ticket("7")
    for url, status in (("/events?channel=room:closed", 401), ("/events?ticket=%s&channel=x" % ticket, 403)):
        assert app.test_client().get(url).status_code == status
    assert app.test_client().head("/events").status_code == 200
    assert noted == []


def test_a_poll_opens_and_ends(app, noted):
    assert app.test_client().get("/events?poll=now").status_code == 200
    until(lambda: noted == [(None, ("*",)), (None, ("*",), "its poll was answered")], 5, lambda: noted)


# -- receivers that misbehave ----------------------------------------------------


def fail(*_, **__):
    raise ValueError("no good")


@pytest.mark.parametrize("signal", [stream_opened, stream_closed])
def test_an_error_of_a_receiver_is_logged_and_nothing_else(app, noted, signal, caplog):
    with connected(app, signal, fail), stream(app) as opened, app.app_context():
        flask_ssemux.broadcast("x")
        opened.expect("message", "x")
    assert len(noted) == 2
    assert caplog.messages == [
        "a receiver of %s failed: ValueError('no good')" % signal.name.replace("-", "_"),
    ]


def test_a_receiver_that_blocks_holds_up_no_stream_and_no_end(app, noted):
    go, begun = threading.Event(), threading.Event()

    def block(*_, **__):
        begun.set()
        assert go.wait(10)

    with connected(app, stream_closed, block), app.app_context():
        streams = [stream(app, "/events") for _ in range(3)]
        flask_ssemux.disconnect(channel="*")
        for one in streams:
            one.wait_closed()
        assert begun.wait(5)
        assert len(app.extensions["ssemux"].worker.running().hub) == 0 and len(sender(app)) == 3
        with stream(app) as another:
            flask_ssemux.broadcast("x")
            another.expect("message", "x")
            go.set()
    until(lambda: len(sender(app)) == 0, 5, lambda: len(sender(app)))
    assert [len(values) for values in noted].count(3) == 4


def test_a_receiver_may_take_longer_than_a_stream_has_to_begin(app):
    with frozen(app) as clock, app.app_context():
        with connected(app, stream_opened, lambda *_, **__: clock.advance(60)):
            opened = stream(app)
        flask_ssemux.broadcast("x")
        opened.expect("message", "x")
        clock.advance(30)
        assert opened.heartbeats and not opened.closed
        opened.close()


def test_a_stream_that_ends_while_it_is_announced(app, noted):
    """Its end is announced after its beginning, and once."""

    def end(sender, **_):
        running = app.extensions["ssemux"].worker.running()
        for one in running.hub.list_streams():
            one.mark_closed("ended at once")

    with connected(app, stream_opened, end):
        stream(app).close()
    assert noted == [(None, ("*",)), (None, ("*",), "ended at once")]


def test_an_async_receiver_is_called_or_named_in_the_log(app, caplog):
    called = []

    async def receive(sender, **values):
        called.append(values)

    if not hasattr(app, "ensure_sync"):
        pytest.skip("Flask 1 calls no async functions")
    with connected(app, stream_opened, receive):
        stream(app).close()
    assert len(called) + len(caplog.messages) == 1


# -- no receivers ------------------------------------------------------------------


def test_without_receivers_nothing_is_kept_and_no_thread_starts(app):
    with stream(app):
        assert not sender(app)._opened
    assert not sender(app)._loop.is_running and len(sender(app)) == 0


def test_a_receiver_that_comes_later_learns_of_new_streams_only(app):
    found = []
    with stream(app), connected(app, stream_closed, lambda _, **values: found.append(values["reason"])):
        stream(app).close()
    assert found == ["its client left"] and not sender(app)._opened


def test_a_receiver_of_one_application_learns_nothing_of_another(app, make_app, noted):
    stream(make_app(name="office")).close()
    assert noted == []


WITHOUT_BLINKER = """
import sys
sys.modules["blinker"] = None
import flask, flask_ssemux
app = flask.Flask("shop", instance_path=sys.argv[1])
app.config["SSEMUX_BROKER"] = "memory:"
flask_ssemux.init_app(app)
with flask_ssemux.testing.stream(app) as s:
    assert s.hello
try:
    flask_ssemux.stream_opened.connect(print)
except RuntimeError as error:
    assert "blinker" in str(error)
else:
    raise AssertionError("a receiver that is never called")
flask_ssemux.testing.close(app)
"""


@pytest.mark.skipif(NEEDS_BLINKER, reason="this Flask needs blinker")
def test_an_application_without_blinker(tmp_path):
    source = WITHOUT_BLINKER.replace("import flask, flask_ssemux", "import flask, flask_ssemux, flask_ssemux.testing")
    subprocess.run([sys.executable, "-c", source, str(tmp_path)], check=True, timeout=60)
