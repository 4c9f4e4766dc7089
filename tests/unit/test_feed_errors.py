"""Feeds that misbehave: what they raise, how they end, and what they are registered with."""

from __future__ import annotations

import logging
import threading

import flask
import pytest

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.errors import ApplicationError
from tests.harness.waiting import until


class Interrupted(BaseException):
    """Not an ``Exception``, as gevent's ``Timeout`` and ``GreenletExit``."""


class Unprintable(Exception):
    def __repr__(self):
        raise ValueError("no text")


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.authorize("<path:name>")(lambda user, name: True)
    return made


def get_feeds(app):
    return app.extensions["ssemux"].worker.running().feeds


def list_errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("error", [Interrupted("x"), GeneratorExit("x"), KeyboardInterrupt(), Unprintable()])
def test_whatever_is_raised_the_feed_waits_before_it_starts_again(make_app, mux, caplog, error):
    begun = []

    @mux.feed("jobs")
    def jobs():
        begun.append(1)
        yield 1
        raise error

    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        stream.next(timeout=10)
        until(lambda: get_feeds(app).get_figures()["feeds_paused"] == 1, 10, "it does not wait")
        assert len(begun) == 1
    (text,) = list_errors(caplog)
    assert text.startswith("the feed 'jobs' had an error, and is started again in 1 s: %s" % type(error).__name__)


def test_an_error_while_the_generator_is_closed_is_logged(make_app, mux, caplog):
    @mux.feed("jobs", linger=0)
    def jobs():
        try:
            yield 1
            while True:
                yield None
                threading.Event().wait(0.005)
        finally:
            raise ZeroDivisionError("in finally")

    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        stream.next(timeout=10)
    until(lambda: not get_feeds(app).get_figures()["feeds"], 10, "it is still there")
    assert list_errors(caplog) == ["the feed 'jobs' had an error, while it was closed: ZeroDivisionError('in finally')"]


def test_a_generator_whose_lease_was_lost_is_not_started_again_even_if_it_raises_at_its_end(make_app, mux):
    fences, go = [], threading.Event()

    @mux.feed("jobs", linger=0)
    def jobs():
        fences.append(flask_ssemux.current_fence())
        try:
            yield 1
            go.wait(10)
            while True:
                yield 2
        finally:
            raise ZeroDivisionError("in finally")

    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        stream.next(timeout=10)
        feed = get_feeds(app)._feeds["jobs"]
        feed._outbox.drop()  # as the store's answer does if another process has the lease
        go.set()
        until(lambda: feed._runner.is_over, 10, "it goes on")
        assert feed.is_lost and feed.restarts == 0


def test_the_text_of_an_error_is_cut_in_the_status_and_in_the_log(make_app, mux, caplog):
    @mux.feed("jobs")
    def jobs():
        yield 1
        raise ValueError("x" * 100_000)

    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        stream.next(timeout=10)
        until(lambda: get_feeds(app).get_figures()["feeds_paused"] == 1, 10, "it does not wait")
        assert len(get_feeds(app).get_figures()["feeds"]["jobs"]["error"]) < 600
    (text,) = list_errors(caplog)
    assert len(text) < 700


@pytest.mark.parametrize("returned", [None, "text", b"bytes", {"a": 1}, 7])
def test_what_is_no_generator_is_an_error_that_says_so(make_app, mux, caplog, returned):
    mux.feed("jobs")(lambda: returned)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]):
        until(lambda: get_feeds(app).get_figures()["feeds_paused"] == 1, 10, "it does not wait")
    (text,) = list_errors(caplog)
    assert "the feed's function returned a value of the type %s, not a generator" % type(returned).__name__ in text


def test_a_function_that_does_not_take_the_patterns_variables_is_refused(mux):
    for function in (lambda: (), lambda symbol, other: (), lambda other: ()):
        with pytest.raises(ApplicationError) as raised:
            mux.feed("prices:<symbol>")(function)
        assert "the feed 'prices:<symbol>' is called with the variables of its pattern, (symbol)" in str(raised.value)
    with pytest.raises(ApplicationError, match=r"is called with the variables of its pattern, \(none\)"):
        mux.feed("jobs")(lambda symbol: ())
    with pytest.raises(ApplicationError, match="is called with the variables of its pattern"):
        mux.add_stream("/old/<int:job_id>", ["jobs"], feed=lambda job_id: ())
    mux.feed("prices:<symbol>")(lambda symbol, period=1, **more: ())


def test_a_run_has_no_feed(make_app, mux):
    begun = []

    @mux.feed("run:<name>")
    def follow(name):
        begun.append(name)
        yield 1

    app = make_app(mux)

    @app.route("/start")
    def start():
        return flask_ssemux.start_run(iter(["a"]), owner=None).response()

    with testing.stream(app, channels=["run:7"]) as stream:
        stream.next(timeout=10)  # a channel of the application: not the id of a run
        assert b"data: a" in app.test_client().get("/start").data
    assert begun == ["7"]


def test_a_url_whose_variable_does_not_convert_has_no_feed(make_app, mux):
    mux.add_stream("/old/<int:job_id>", feed=lambda job_id: ["data: %d\n\n" % job_id], public=True)
    mux.add_stream("/by/<view>", feed=lambda view: ["data: %s\n\n" % view], public=True)
    app = make_app(mux)
    with testing.stream(app, channels=["old/5"]) as stream:
        assert stream.next(timeout=10).data == "5"
    with testing.stream(app, channels=["by/text"]) as stream:
        assert stream.next(timeout=10).data == "text"
    assert [get_feeds(app)._find_work(channel) for channel in ("old/x", "old/ 5", "old/1_0", "old/05")] == [None] * 4


def test_a_stream_of_an_application_without_the_multiplexed_url_has_a_feed(make_app, mux):
    mux.add_stream("/old", feed=lambda: flask.Response(iter(["data: 1\n\n"])), public=True)
    app = make_app(mux, SSEMUX_URL="off")
    with testing.stream(app, "/old") as stream:
        assert stream.next(timeout=10).data == "1"
