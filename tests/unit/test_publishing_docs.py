"""The examples of docs/publishing.md, run as they are printed, one after the other."""

from __future__ import annotations

import logging
import re
import threading
import types
from datetime import datetime, timezone

import flask
import pytest

import flask_ssemux
from flask_ssemux.testing import stream
from tests.harness.document import blocks
from tests.harness.packages import need_python

PLAIN, PROVIDER, SEVERAL, BEST_EFFORT, DEVICE = blocks("publishing.md", "python")


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    for channel in ("jobs", "jobs:<id>", "stock", "weather", "temperature"):
        made.authorize(channel)(lambda user_id, **values: True)
    return made


@pytest.fixture
def app(make_app, mux):
    return make_app(mux)


def run(code, app, **names):
    names = {"app": app, "flask_ssemux": flask_ssemux, **names}
    with app.app_context():
        exec(code, names)
    return names


def test_publish(app):
    with stream(app, channels=["jobs:42"]) as events:
        run(PLAIN, app)
        events.expect("progress", {"done": 7, "of": 9})


@pytest.mark.skipif(not hasattr(flask.Flask, "json_provider_class"), reason="Flask before 2.2 has no JSON providers")
def test_a_provider(app):
    numpy = need_python("numpy", "numpy")
    with stream(app, channels=["weather"]) as events:
        run(PROVIDER, app, numpy=numpy, datetime=datetime, timezone=timezone)
        assert re.fullmatch(r'\{"at":"\w+, .* GMT","celsius":21.5\}', events.next().data)


def test_several_events(app):
    with stream(app, channels=["jobs:42", "jobs", "stock"], user=7) as events:
        cursors = run(SEVERAL, app)["cursors"]
        seen = events.rest()
    assert [(event.event, event.data) for event in seen] == [
        ("progress", '{"done":9,"of":9}'), ("message", '{"finished":42}'), ("notice", "Your export is ready"),
        ("message", '{"left":3}'),
    ]  # fmt: skip
    assert [event.id for event in seen] == cursors


def test_best_effort(make_app, mux, tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    with caplog.at_level(logging.ERROR, "flask_ssemux"):
        run(BEST_EFFORT, make_app(mux, SSEMUX_BROKER="sqlite:///%s/file/x.sqlite3" % tmp_path))
    assert caplog.messages[-1].startswith("not published: progress on 'jobs:42': the SQLite store")


def test_a_device_thread(bare_app):
    """As printed, but for the end of the loop, and for a stream that is opened before the thread begins."""
    app, sensor, opened = bare_app(SSEMUX_BROKER="memory:"), types.SimpleNamespace(read=lambda: 21.5), []
    code = DEVICE.replace("while True:", "for _ in range(1):").replace("time.sleep(1)", "pass")
    code = code.replace("flask_ssemux.SSEMux(app)\n", "flask_ssemux.SSEMux(app)\nbegin(mux)\n")

    def begin(mux):
        mux.authorize("temperature")(lambda user_id: True)
        opened.append(stream(app, channels=["temperature"]))

    run(code, app, begin=begin, threading=threading, sensor=sensor)
    with opened[0] as events:
        events.expect("reading", {"celsius": 21.5}, timeout=5)
    flask_ssemux.testing.close(app)
