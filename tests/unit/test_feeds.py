"""Feeds in one process, in threads: when their generators run, what they may yield, and what happens after errors."""

from __future__ import annotations

import json
import logging
import os
import threading
import time

import flask
import pytest

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.brokers import WorkLease
from flask_ssemux.errors import ApplicationError, ConfigurationError, InvalidChannel
from flask_ssemux.runs import feed as feed_module
from flask_ssemux.runs import keeper as keeper_module
from tests.harness.waiting import until


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.authorize("jobs")(lambda user: True)
    made.authorize("prices:<symbol>")(lambda user, symbol: True)
    return made


class Source:
    """A generator function that yields what the test puts in, and notes its beginnings and ends.

    It notices within milliseconds that it is to end: in threads a generator is closed at its next yield.
    """

    def __init__(self):
        self.items, self.begun, self.ended = [], [], []
        self._changed = threading.Condition()

    def put(self, *items):
        with self._changed:
            self.items += items

    def __call__(self, **values):
        self.begun.append(values)
        try:
            while True:
                with self._changed:
                    items, self.items = self.items, []
                for item in items:
                    if isinstance(item, BaseException):
                        raise item
                    if item == "return":
                        return
                    yield item
                yield None
                time.sleep(0.005)
        finally:
            self.ended.append(values)


def get_feeds(app):
    return app.extensions["ssemux"].worker.running().feeds


def list_feeds(app):
    """Return the figures of the feeds that run, by channel."""
    return get_feeds(app).get_figures()["feeds"]


def read(stream, count):
    return [(event.event, event.data) for event in (stream.next(timeout=5) for _ in range(count))]


def test_a_feed_runs_once_for_all_readers_and_ends_after_the_last(make_app, mux):
    source = Source()
    mux.feed("jobs", linger=0.1)(source)
    app = make_app(mux)
    assert not app.extensions["ssemux"].worker.work_parts.keeper._loop.is_running and not source.begun
    with testing.stream(app, channels=["jobs"]) as first:
        source.put(("job", {"id": 1}), {"id": 2}, "plain", ("old", "event: x\n\n"))
        found = [("job", '{"id":1}'), ("message", '{"id":2}'), ("message", "plain"), ("old", "event: x\n\n")]
        assert read(first, 4) == found
        with testing.stream(app, channels=["jobs"]) as second:
            source.put("event: job\ndata: 3\n\nid: 7\ndata: 4\n\n")
            assert read(first, 2) == read(second, 2) == [("job", "3"), ("message", "4")]
        assert source.begun == [{}] and not source.ended
        (figures,) = list_feeds(app).values()
        assert (figures["state"], figures["restarts"], figures["error"]) == ("running", 0, "")
    until(lambda: source.ended == [{}], 10, "it is not closed")
    until(lambda: list_feeds(app) == {}, 10, "it is still there")
    until(lambda: not app.extensions["ssemux"].worker.work_parts.keeper._loop.is_running, 10, "the keeper goes on")
    with testing.stream(app, channels=["jobs"]) as third:
        source.put("again")
        assert read(third, 1) == [("message", "again")] and len(source.begun) == 2


def test_the_first_event_comes_at_once(make_app, mux):
    mux.feed("jobs")(lambda: iter(["at once"]))
    app = make_app(mux)
    began = time.monotonic()
    with testing.stream(app, channels=["jobs"]) as stream:
        assert read(stream, 1) == [("message", "at once")]
        assert time.monotonic() - began < 0.5  # 20 ms on a machine that is not loaded


def test_a_pattern_has_one_generator_for_each_channel_that_is_read(make_app, mux):
    source = Source()
    mux.feed("prices:<symbol>", linger=0)(source)
    app = make_app(mux)
    with testing.stream(app, channels=["prices:a", "prices:b"]), testing.stream(app, channels=["prices:a"]):
        until(lambda: len(source.begun) == 2, 10, "one is missing")
        assert sorted(it["symbol"] for it in source.begun) == ["a", "b"]
        assert sorted(list_feeds(app)) == ["prices:a", "prices:b"]


def test_what_is_yielded_in_one_go_is_appended_in_one_call(make_app, mux, monkeypatch):
    calls = []

    def burst():
        yield from range(20)
        time.sleep(1)

    mux.feed("jobs")(burst)
    app = make_app(mux)
    work = app.extensions["ssemux"].worker.broker.work
    append = work.append_work
    monkeypatch.setattr(
        work, "append_work", lambda batches: calls.append(sum(len(it.events) for it in batches)) or append(batches)
    )
    with testing.stream(app, channels=["jobs"]) as stream:
        assert [event.data for event in (stream.next(timeout=5) for _ in range(20))] == [str(it) for it in range(20)]
    assert len(calls) <= 3, calls  # one, unless the machine interrupted the generator


def test_an_application_context_without_a_request(make_app, mux):
    found = []

    def look():
        found.append((flask.current_app.name, flask.has_request_context(), flask_ssemux.current_fence()))
        yield "x"

    mux.feed("jobs")(look)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        read(stream, 1)
    ((name, has_request, fence),) = found
    assert name == app.name and not has_request and abs(fence / 1e6 - time.time()) < 60
    assert flask_ssemux.current_fence() is None


def test_an_error_is_logged_once_and_the_generator_starts_again(make_app, mux, caplog, monkeypatch):
    monkeypatch.setattr(feed_module, "PAUSE", 0.01)
    source = Source()
    mux.feed("jobs")(source)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        for number in range(3):
            source.put(number, ZeroDivisionError("it broke"))
            assert read(stream, 1) == [("message", str(number))]
            until(lambda count=number + 2: len(source.begun) == count, 10, "it does not start again")
        source.put("after")
        assert read(stream, 1) == [("message", "after")]
        (figures,) = list_feeds(app).values()
        assert get_feeds(app)._feeds["jobs"]._pause == 0.08  # it has doubled three times
    assert (figures["state"], figures["restarts"]) == ("running", 3)
    assert figures["error"].startswith("ZeroDivisionError('it broke') (")
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == (
        "the feed 'jobs' had an error, and is started again in 0.01 s: ZeroDivisionError('it broke')"
    )
    assert record.exc_info[0] is ZeroDivisionError


def test_a_yield_that_is_no_event_is_left_out_and_its_data_is_not_logged(make_app, mux, caplog):
    source = Source()
    mux.feed("jobs")(source)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        source.put(("bad\nname", "secret"), {"secret": object()}, ("a", "secret", "secret"), "fine")
        assert read(stream, 1) == [("message", "fine")] and len(source.begun) == 1
    assert "and goes on without this event" in caplog.text and "secret" not in caplog.text


def test_a_generator_that_returned_is_not_started_again_until_its_readers_have_left(make_app, mux):
    source = Source()
    mux.feed("jobs", linger=0)(source)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        source.put("last", "return")
        assert read(stream, 1) == [("message", "last")]
        until(lambda: list_feeds(app)["jobs"]["state"] == "ended", 10, "it goes on")
    until(lambda: list_feeds(app) == {}, 10, "it is still held")
    with testing.stream(app, channels=["jobs"]):
        until(lambda: len(source.begun) == 2, 10, "it does not start again")


def test_a_feed_whose_work_another_process_has_is_closed_and_appends_nothing(make_app, mux):
    source = Source()
    mux.feed("jobs")(source)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        source.put("before")
        read(stream, 1)
        broker = app.extensions["ssemux"].worker.broker
        broker.work.take_work(["feed:jobs"])  # as if it were another process, which takes it from one that slept
        cursor = broker.history.get_newest_cursor()
        source.put("dropped")
        until(lambda: source.ended, 10, "it goes on")
        assert broker.history.get_newest_cursor() == cursor


def test_an_old_view_is_a_feed_of_its_url(make_app, mux):
    seen = []

    def old_view(job_id):
        def generate():
            seen.append(job_id)
            yield "retry: 500\n\nev"
            yield "ent: job\nid: 7\nda"
            yield 'ta: {"id": %d}\n\n' % job_id

        return flask.Response(generate(), mimetype="text/event-stream"), 200

    mux.add_stream("/api/jobs/<int:job_id>/stream", feed=flask_ssemux.streaming(old_view), public=True)
    app = make_app(mux)
    with testing.stream(app, "/api/jobs/5/stream") as one, testing.stream(app, "/api/jobs/5/stream"):
        event = one.next(timeout=5)
        assert (event.event, event.data) == ("job", '{"id": 5}') and event.id
        assert list(list_feeds(app)) == ["api/jobs/5/stream"] and seen == [5]


def test_the_channel_of_an_old_view_can_be_named_and_has_its_rule(make_app, mux):
    mux.add_stream("/old", ["jobs"], feed=lambda: ["data: 1\n\n"])
    mux.add_stream("/unruled", feed=lambda: ["data: 1\n\n"])
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]) as stream:
        assert read(stream, 1) == [("message", "1")]
    with pytest.raises(ConfigurationError, match="no rule says who may read its channel 'unruled'"):
        app.extensions["ssemux"].worker  # noqa: B018
        raise ConfigurationError(app.extensions["ssemux"].find_errors()[0])


def test_the_end_of_the_application_closes_the_feeds(make_app, mux):
    source = Source()
    mux.feed("jobs")(source)
    app = make_app(mux)
    with testing.stream(app, channels=["jobs"]):
        until(lambda: source.begun, 10, "it does not begin")
        broker = app.extensions["ssemux"].worker.broker
        app.extensions["ssemux"].worker.drain()
        until(lambda: source.ended, 10, "it goes on")
        until(lambda: broker.work.keep_work([], (), ["feed:jobs"]).free == {"feed:jobs"}, 10, "it is not released")
    assert len(source.begun) == 1


@pytest.mark.parametrize(
    "register, kind, text",
    [
        (lambda mux: mux.feed("jobs")(7), ApplicationError, "the feed 'jobs' is a function that returns a generator"),
        (lambda mux: mux.feed("jobs")(Source), ApplicationError, "is a function that returns a generator, not "),
        (lambda mux: mux.feed("ssemux.x"), InvalidChannel, "are flask_ssemux's own"),
        (lambda mux: mux.feed("*"), InvalidChannel, "no rule can be added"),
        (lambda mux: mux.feed("user:<id>"), InvalidChannel, "no rule can be added"),
        (lambda mux: mux.feed("jobs", linger=-1), ApplicationError, "linger=-1: must be seconds from 0 to 3600"),
        (lambda mux: mux.add_stream("/x"), ApplicationError, "needs channels, such as"),
        (lambda mux: mux.add_stream("/x", []), ApplicationError, "needs channels, such as"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_feed_is_refused(mux, register, kind, text):
    with pytest.raises(kind) as raised:
        result = register(mux)
        result(lambda: iter(()))
    assert text in str(raised.value)


def test_async_functions_are_refused(mux):
    async def generate():
        yield 1

    async def view():
        return iter(())

    for function in (generate, view):
        with pytest.raises(ApplicationError, match="is an async function"):
            mux.feed("jobs")(function)


def test_two_feeds_for_one_channel_are_refused(mux):
    for first, second in (("a", "a"), ("b:<x>", "b:7"), ("c:7", "c:<x>"), ("d:<x>", "d:<y>"), ("e:<x>", "<path:y>")):
        made = flask_ssemux.SSEMux()
        made.feed(first)(lambda **_: ())
        with pytest.raises(ApplicationError, match="are for the same channel"):
            made.feed(second)(lambda **_: ())
    mux.feed("prices:<symbol>")(lambda **_: ())
    mux.feed("prices:<symbol>:day")(lambda **_: ())
    mux.feed("prices")(lambda **_: ())


def test_an_application_without_feeds_has_no_keeper_and_asks_nothing(make_app, mux, monkeypatch):
    app = make_app(mux)
    worker, before = app.extensions["ssemux"].worker, set(threading.enumerate())
    for name in ("take_work", "keep_work", "append_work", "release_work"):
        monkeypatch.setattr(worker.broker.work, name, None)
    with testing.stream(app, channels=["jobs"]) as stream:
        worker.broker.history.append_event("ssemux.work", b'{"free": ["feed:jobs"]}')
        with app.app_context():
            flask_ssemux.publish("jobs", 1)
        read(stream, 1)
    assert not worker.work_parts.keeper._loop.is_running and not get_feeds(app).is_needed
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert not names & {"ssemux-keeper", "ssemux-work", "ssemux-feed", "ssemux-take"}


def test_a_lease_that_comes_too_late_is_given_back(make_app, mux):
    mux.feed("jobs")(Source())
    app = make_app(mux)
    with testing.stream(app):
        feeds, broker = get_feeds(app), app.extensions["ssemux"].worker.broker
    assert feeds._note_taking(["jobs"]) == (["jobs"], []) and feeds._note_taking(["jobs"]) == ([], [])
    feeds.drain()
    feeds._take_feeds(["jobs"])
    assert list_feeds(app) == {} and broker.work.keep_work([], (), ["feed:jobs"]).free == {"feed:jobs"}
    assert isinstance(broker.work.take_work(["feed:jobs"])[0], WorkLease)


def test_the_status_shows_feeds_with_their_worker_restarts_and_last_error(make_app, mux, monkeypatch):
    monkeypatch.setattr(feed_module, "PAUSE", 0.01)
    source = Source()
    mux.feed("jobs")(source)
    mux.allow_status(lambda: True)
    app = make_app(mux, SSEMUX_BROKER="sqlite:")
    worker, client = app.extensions["ssemux"].worker, app.test_client()
    assert client.get("/events/status.json").json["feeds"] == []
    with testing.stream(app, channels=["jobs"]):
        source.put(ZeroDivisionError("it broke"))
        until(lambda: len(source.begun) == 2, 10, "it does not start again")
        status = client.get("/events/status.json").json
        worker.running().reporter._report()
        text = app.test_cli_runner().invoke(args=["ssemux", "status"]).output
        (shown,) = json.loads(app.test_cli_runner().invoke(args=["ssemux", "status", "--json"]).output)["feeds"]
    (feed,) = status["feeds"]
    assert feed == {**feed, "channel": "jobs", "state": "running", "restarts": 1, "pid": os.getpid()} == shown
    assert feed["error"].startswith("ZeroDivisionError('it broke') (") and feed["fence"] and feed["since"]
    (report,) = status["workers"]
    assert (report["feeds_running"], report["feeds_paused"], report["feed_restarts"]) == (1, 0, 1)
    line = "jobs: running in %d on %s, started again 1 times, last error ZeroDivisionError" % (
        os.getpid(),
        feed["host"],
    )
    assert line in text


def test_a_feed_that_cannot_be_started_gives_its_lease_back(make_app, mux, monkeypatch, caplog):
    mux.feed("jobs")(Source())
    app = make_app(mux)
    with testing.stream(app):
        feeds, broker = get_feeds(app), app.extensions["ssemux"].worker.broker

    def fail(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(feed_module.Feed, "start", fail)
    feeds._take_feeds(feeds._note_taking(["jobs"])[0])
    assert list_feeds(app) == {} and broker.work.keep_work([], (), ["feed:jobs"]).free == {"feed:jobs"}
    assert "a feed could not be started: RuntimeError" in caplog.text


def test_a_feed_that_was_released_is_taken_over_at_once_by_another_process(make_app, mux, monkeypatch):
    """By the message; the next turn of the keeper is far away."""
    monkeypatch.setattr(keeper_module, "WORK_INTERVAL", 1000.0)
    source = Source()
    mux.feed("jobs")(source)
    url = "sqlite:///%s" % os.path.join(make_app(mux, "other").instance_path, "shared.sqlite3")
    first, second = (make_app(mux, name, SSEMUX_BROKER=url, SSEMUX_NAMESPACE="both") for name in ("first", "second"))
    with testing.stream(first, channels=["jobs"]), testing.stream(second, channels=["jobs"]) as stream:
        until(lambda: len(source.begun) == 1 and list_feeds(first), 10, "it does not begin")
        assert not list_feeds(second)
        first.extensions["ssemux"].worker.drain()
        until(lambda: len(source.ended) == 1 and len(source.begun) == 2, 10, "nobody takes it over")
        source.put("after")
        assert read(stream, 1) == [("message", "after")] and list_feeds(second)
