"""A feed whose generator does not end when it is closed: who notices."""

from __future__ import annotations

import re
import threading

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.runs import feeds as feeds_module
from tests.harness.waiting import until


def test_a_generator_that_does_not_end_is_logged_once(make_app, caplog, monkeypatch):
    monkeypatch.setattr(feeds_module, "LATE_SECONDS", 0.0)
    mux, go = flask_ssemux.SSEMux(), threading.Event()
    mux.authorize("jobs")(lambda user: True)

    @mux.feed("jobs", linger=0)
    def jobs():
        yield 1
        go.wait(30)

    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        stream.next(timeout=10)
    feeds = app.extensions["ssemux"].worker.running().feeds
    keeper = app.extensions["ssemux"].worker.work_parts.keeper
    until(lambda: "is not closed yet" in caplog.text, 20, "it is not logged")
    turn = keeper._next_turn
    until(lambda: keeper._next_turn > turn + 1.0, 10, "the keeper does not go on")  # two more turns
    go.set()
    until(lambda: not feeds.get_figures()["feeds"], 10, "it is still there")
    (record,) = [record for record in caplog.records if "is not closed yet" in record.getMessage()]
    assert re.sub(r"\d+ s", "0 s", record.getMessage()) == (
        "the feed 'jobs' is not closed yet, 0 s after it was told to end, so it cannot start again: its generator "
        "does not yield (in a thread, yield None where it waits for long), or it catches GeneratorExit"
    )
