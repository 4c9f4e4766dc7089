"""``flask_ssemux.testing`` as an application's tests use it: with streams of all kinds, and with a stopped clock."""

from __future__ import annotations

import gc
import threading

import flask
import pytest

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.errors import ApplicationError
from flask_ssemux.testing import Event, frozen, open_stream, stream
from flask_ssemux.util import request_override
from tests.harness.waiting import until


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.identify(lambda: flask.request.headers.get("X-User") or flask.session.get("user"))
    made.authorize("jobs:<id>")(lambda user_id, id: True)
    made.authorize("chat")(lambda user_id: user_id is not None)
    made.authorize("own:<owner>")(lambda user_id, owner: str(user_id) == owner)
    made.snapshot("own:<owner>")(lambda owner: [("state", {"of": owner})])
    made.add_stream("/jobs/stream", channels=["jobs"], public=True)
    return made


@pytest.fixture
def app(bare_app, mux):
    app = bare_app(SSEMUX_BROKER="memory:", SECRET_KEY="x", SSEMUX_LIFETIME=600)
    mux.init_app(app)

    @app.route("/login/<user>")
    def login(user):
        flask.session["user"] = user
        return "welcome"

    yield app
    testing.close(app)


@pytest.fixture
def publish(app):
    def publish(*args, **options):
        with app.app_context():
            return flask_ssemux.publish(*args, **options)

    return publish


def failure(call, *args, **options):
    with pytest.raises(AssertionError) as caught:
        call(*args, **options)
    return str(caught.value)


# -- events ------------------------------------------------------------------


def test_an_event(app, publish):
    with stream(app, channels=["jobs:42"]) as s:
        cursor = publish("jobs:42", {"done": 7}, event="progress")
        event = s.next(timeout=1)
        assert event == Event("progress", '{"done":7}', cursor, "jobs:42")
        assert event.json == {"done": 7}
        assert s.hello.json == {"heartbeat": 20, "timeout": 120}
        assert (s.status, s.last_event_id) == (200, cursor) and 1500 <= s.retry <= 4500
        assert s.headers["X-Accel-Buffering"] == "no"


def test_many_events_in_order(app, publish):
    with stream(app, channels=["jobs:1", "jobs:2"]) as s:
        for number in range(500):
            publish("jobs:%d" % (1 + number % 2), str(number))
        assert [s.next().data for _ in range(500)] == [str(number) for number in range(500)]
        assert len(s.events) == 500 and s.rest() == []


def test_any_data_arrives_unchanged(app, publish):
    with stream(app, channels=["jobs:1"]) as s:
        for data in ["", " a", "a\nb", "ü\u2028\x85", "data: x"]:
            publish("jobs:1", data)
            assert s.next().data == data


def test_expect(app, publish):
    with stream(app, channels=["jobs:1"]) as s:
        publish("jobs:1", {"done": 1}, event="progress")
        assert s.expect("progress", {"done": 1}).id == s.last_event_id
        publish("jobs:1", {"done": 2}, event="progress")
        assert failure(s.expect, "progress", {"done": 3}) == (
            "expected 'progress' with {\"done\":3}, but 'progress' came with {\"done\":2} (/events?channel=jobs%3A1: "
            "it is open; events so far: progress, progress; the last comment: ssemux)"
        )


def test_next_without_an_event_fails(app):
    with stream(app, channels=["jobs:1"]) as s:
        _ = s.hello
        assert failure(s.next, timeout=0.01) == (
            "no event within 0.01 s (/events?channel=jobs%3A1: it is open; events so far: none; "
            "the last comment: ssemux)"
        )


def test_rest_returns_what_was_published_before(app, publish):
    with stream(app, channels=["jobs:1"]) as s, stream(app, channels=["jobs:2"]) as other:
        publish("jobs:1", "x")
        publish("jobs:2", "y")
        assert [event.data for event in s.rest()] == ["x"]
        assert [event.data for event in other.rest()] == ["y"]
        assert s.rest() == other.rest() == []


def test_reconnecting(app, publish):
    with stream(app, channels=["jobs:1"]) as s:
        publish("jobs:1", "seen")
        seen = s.next().id
    publish("jobs:1", "missed")
    with stream(app, channels=["jobs:1"], last_event_id=seen) as s:
        assert s.next().data == "missed"
    with stream(app, "/events?channel=jobs:1&last_event_id=abcd1234-7") as s:
        assert s.expect("ssemux.reset").json["reason"] == "epoch"


def test_a_snapshot(app):
    with stream(app, channels=["own:7"], user=7) as s:
        s.expect("state", {"of": "7"})


def test_a_stream_of_its_own_url(app, publish):
    with stream(app, "/jobs/stream") as s:
        publish("jobs", "x")
        assert s.next().data == "x"


# -- users ------------------------------------------------------------------


def test_the_test_chooses_the_user(app):
    with stream(app, user=7) as s, stream(app, user="8") as other, stream(app) as nobody:
        with app.app_context():
            flask_ssemux.send_to_user(7, "yours")
        assert s.next().data == "yours"
        assert other.rest() == nobody.rest() == []


def test_identify_is_called_otherwise(app):
    with stream(app, channels=["chat"], headers={"X-User": "7"}) as s:
        assert s.status == 200
    with stream(app, channels=["chat"], headers={"X-User": "7"}, user=None) as s:
        assert (s.status, s.json["error"]) == (401, "unauthorized")


def test_a_client_that_has_logged_in(app):
    client = app.test_client()
    client.get("/login/9")
    with stream(app, channels=["chat"], client=client) as s:
        assert s.status == 200
    assert client.get("/login/10").data == b"welcome"  # its cookies did not change


def test_no_header_can_choose_the_user(app):
    """Servers put only texts into the environment: ``HTTP_…``, or a parameter of the proxy under its own name."""
    client = app.test_client()
    for environ in ({"flask_ssemux.test_request": "7"}, {"HTTP_FLASK_SSEMUX_VISIT": "7"}):
        answer = client.get("/events?channel=chat", environ_overrides=environ)
        assert answer.status_code == 401
    assert client.get("/events?channel=chat", headers={"flask_ssemux.test_request": "7"}).status_code == 401


def test_a_refusal(app):
    with stream(app, channels=["secret"], user=7) as s:
        assert (s.status, s.closed) == (403, True)
        assert s.json == {"error": "forbidden", "message": "no rule allows the channel 'secret'", "channel": "secret"}
        assert failure(s.next).startswith("no event within 1 s (/events?channel=secret answered 403: {")


def test_an_unknown_url(app):
    with stream(app, "/nowhere") as s:
        assert s.status == 404


def test_an_application_without_the_extension(bare_app):
    with pytest.raises(ApplicationError) as caught:
        stream(bare_app())
    assert str(caught.value) == "flask_ssemux is not set up for 'shop': call flask_ssemux.init_app(app)"


# -- ends --------------------------------------------------------------------


def test_the_client_leaves(app):
    worker = app.extensions["ssemux"].worker
    s = stream(app, user=7)
    assert worker.count_streams() == 1
    s.close()
    s.close()
    assert s.closed and worker.count_streams() == 0
    assert failure(s.next).startswith("no event within 1 s (/events: it has ended")


def test_the_worker_stops(app):
    with stream(app) as s:
        app.extensions["ssemux"].worker.drain()
        s.wait_closed()
        assert s.comments[-1] == "this worker stops" and 1500 <= s.retry <= 4500


def test_close_leaves_no_thread(bare_app):
    before = set(threading.enumerate())
    app = bare_app(SSEMUX_BROKER="memory:")
    flask_ssemux.init_app(app)
    s = stream(app)
    testing.close(app)
    assert s.closed
    until(lambda: set(threading.enumerate()) <= before, 2, lambda: str(set(threading.enumerate()) - before))


# -- time --------------------------------------------------------------------


def test_a_heartbeat_ends_each_silence(app):
    with frozen(app) as clock, stream(app) as s:
        assert s.heartbeats == 0
        for beats in range(1, 12):
            clock.advance(20)
            assert beats <= s.heartbeats <= beats * 2  # they are spread: a silence ends after 8 to 20 s


def test_advancing_by_a_long_time(app):
    with frozen(app) as clock, stream(app) as s:
        clock.advance(450)
        assert 450 // 20 <= s.heartbeats <= 450 // 19 + 3
        assert not s.closed


def test_time_stands_still(app, publish):
    with frozen(app) as clock, stream(app, channels=["jobs:1"]) as s:
        before = clock()
        publish("jobs:1", "x")
        assert s.next().data == "x"
        clock.advance(7)
        assert (s.heartbeats, clock()) == (0, before + 7)


def test_an_event_postpones_the_heartbeat(app, publish):
    with frozen(app) as clock, stream(app, channels=["jobs:1"]) as s:
        for _ in range(20):
            clock.advance(7)
            publish("jobs:1", "x")
            s.next()
            s.rest()
        assert s.heartbeats == 0


def test_a_lifetime(app):
    with frozen(app) as clock, stream(app) as s:
        clock.advance(479)
        assert not s.closed
        clock.advance(121 + 1)
        s.wait_closed()
        assert s.comments[-1] == "its lifetime is over"


def test_reauthorization(make_app):
    """The user stays the same; the rules are called again, within `advance`."""
    banned = set()
    mux = flask_ssemux.SSEMux()
    mux.authorize("jobs:<id>")(lambda user_id, id: user_id not in banned)
    app = make_app(mux, SSEMUX_RECHECK=60)
    with frozen(app) as clock, stream(app, channels=["jobs:1"], user=7) as s, stream(app, user=8) as other:
        clock.advance(200)
        assert not s.closed
        banned.add(7)
        clock.advance(70)
        s.wait_closed()
        assert s.comments[-1] == "its user may not read it any more"
        assert not other.closed


def test_a_user_who_is_disconnected(app, mux):
    with stream(app, user=7) as s, stream(app, user=8) as other:
        with app.app_context():
            flask_ssemux.disconnect(7)
        s.wait_closed()
        assert other.rest() == [] and not other.closed


def test_the_time_continues_afterwards(app, publish):
    worker = app.extensions["ssemux"].worker
    with frozen(app) as clock:
        clock.advance(100)
        at = clock()
    assert at <= worker.running().timer.clock() < at + 5
    with frozen(app) as clock:
        assert clock() >= at


def test_two_applications_have_clocks_of_their_own(app, make_app):
    other = make_app(name="other")
    with frozen(app) as clock, stream(other) as s:
        clock.advance(200)
        assert s.heartbeats == 0
        with frozen(other) as its, stream(other) as t:
            its.advance(20)
            assert t.heartbeats >= 1


# -- wrapped streams ------------------------------------------------------------


@pytest.fixture
def old(app):
    """A wrapped view that sends "first" at once, and "second" after `go` is set."""
    go, ended = threading.Event(), threading.Event()

    @app.route("/old")
    @flask_ssemux.streaming
    def old():
        def generate():
            try:
                yield "data: first\n\n"
                go.wait(10)
                yield "event: done\ndata: second\n\n"
            finally:
                ended.set()

        return flask.Response(generate(), mimetype="text/event-stream")

    yield go, ended
    go.set()


def test_a_wrapped_stream(app, old):
    go, ended = old
    with stream(app, "/old") as s:
        assert s.next().data == "first"
        go.set()
        s.expect("done", "second")
        s.wait_closed()
    assert ended.is_set() and s.rest() == []


def test_heartbeats_of_a_wrapped_stream(app, old):
    with frozen(app) as clock, stream(app, "/old") as s:
        assert s.next().data == "first"
        before = s.heartbeats
        clock.advance(60)
        assert 2 <= s.heartbeats - before <= 3
        old[0].set()


def test_a_wrapped_stream_opens_as_for_a_browser(app):
    go = threading.Event()

    @app.route("/silent")
    @flask_ssemux.streaming
    def silent():
        def generate():
            go.wait(10)
            yield "data: late\n\n"

        return generate()

    with stream(app, "/silent") as s:
        s._wait_until(lambda: s.retry is not None, 2, "no opening")
        assert s.events == []
        go.set()
        s.expect("message", "late")


def test_a_body_of_another_type_that_does_not_end_is_an_error(app, monkeypatch):
    monkeypatch.setattr(open_stream, "THREAD_TIMEOUT", 0.1)
    go, ended = threading.Event(), threading.Event()

    @app.route("/rows")
    @flask_ssemux.streaming
    def rows():
        def generate():
            try:
                while not go.wait(0.01):
                    yield '{"n": 1}\n'
            finally:
                ended.set()

        return flask.Response(generate(), mimetype="application/x-ndjson")

    with pytest.raises(AssertionError) as error:
        stream(app, "/rows")
    assert str(error.value) == (
        "/rows is no event stream but application/x-ndjson, and has not ended within 0.1 s: read it with "
        "app.test_client()"
    )
    go.set()
    assert ended.wait(5)


def test_a_plain_generator(app):
    @app.route("/bare")
    def bare():
        return flask.Response(iter(["data: a\n\n", "data: b\n\n"]), content_type="text/event-stream; charset=utf-8")

    with stream(app, "/bare") as s:
        assert [s.next().data, s.next().data] == ["a", "b"]


def test_an_error_of_a_generator_is_reported(app):
    @app.route("/broken")
    def broken():
        def generate():
            yield "data: a\n\n"
            raise ZeroDivisionError("of the application's")

        return flask.Response(generate(), mimetype="text/event-stream")

    with stream(app, "/broken") as s:
        assert s.next().data == "a"
        assert "it has ended by ZeroDivisionError" in failure(s.next)


def test_nothing_of_a_stream_is_kept_after_its_test(app):
    gc.collect()
    before = len(request_override._overrides)
    for _ in range(3):
        with stream(app) as s:
            assert len(request_override._overrides) == before + 1
        del s
    gc.collect()
    assert len(request_override._overrides) == before
