"""What the pages show as printed by flask_ssemux: it is made here, and compared."""

from __future__ import annotations

import gevent
import gunicorn
import pytest
from flask import Flask, Response

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.errors import ConfigurationError
from flask_ssemux.transports import private_parts
from tests.documents.terminal import shows
from tests.harness.document import block


def joined(text: str) -> str:
    """Return a message that a page breaks into lines as the one line that it is."""
    return " ".join(text.split())


@pytest.fixture
def app():
    app = Flask("shop")
    app.config.update(SSEMUX_BROKER="memory:", SECRET_KEY="a secret of the tests, 32 bytes long")
    yield app
    if "ssemux" in app.extensions:
        testing.close(app)


def test_a_url_that_is_taken(app):
    app.add_url_rule("/events", "calendar.index", lambda: "a page")
    with pytest.raises(ConfigurationError) as caught:
        flask_ssemux.init_app(app)
    assert "ConfigurationError: %s" % caught.value == joined(block("applications.md", "text", "ConfigurationError"))


def test_an_event_stream_that_is_none(app, caplog):
    flask_ssemux.init_app(app)
    view = flask_ssemux.streaming(lambda: Response(iter(["Hello", " World"]), mimetype="text/event-stream"))
    app.add_url_rule("/chat", "chat", view)
    assert app.test_client().get("/chat").data == b"Hello World"
    assert joined(block("old-views.md", "text", "the view 'chat'")) in map(joined, caplog.messages)


def test_a_decorator_in_the_wrong_place(app, caplog):
    flask_ssemux.init_app(app)

    def jobs_stream():
        return Response(iter(["data: 1\n\n"]), mimetype="text/event-stream")

    app.add_url_rule("/api/jobs/stream", view_func=jobs_stream)
    flask_ssemux.streaming(jobs_stream)
    app.test_client().get("/api/jobs/stream")
    assert joined(block("old-views.md", "text", "the view 'jobs_stream'")) in map(joined, caplog.messages)


def test_a_version_without_private_parts(caplog):
    """`tests/server/test_missing_parts.py` takes parts away; this is the line, with the versions of this machine."""
    assert gevent.__version__ and gunicorn.__version__  # both are loaded, whichever test runs first
    private_parts._log_missing(["gevent.socket.socket._read_event.active"], [private_parts.Use.HANDOFF])
    assert shows(caplog.messages[-1], joined(block("servers.md", "text", "gevent 27.1.0")))


def test_a_run(monkeypatch):
    monkeypatch.setenv("SSEMUX_BROKER", "memory:")
    module: dict = {"__name__": "answers"}
    exec(block("runs.md", "python", "# answers.py"), module)
    app = module["app"]
    printed = app.test_client().post("/answers", json={"prompt": "Hello"}).get_data(as_text=True)
    testing.close(app)
    assert shows(printed, block("runs.md", "text", "event: token"))
