"""The extension through Flask's test client: set-up, answers, and the first bytes of streams.

No endless stream is read to its end: a client takes a piece and leaves.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import contextmanager

import flask
import pytest
from werkzeug.test import EnvironBuilder

import flask_ssemux
from flask_ssemux.errors import ApplicationError, ConfigurationError, InvalidChannel, InvalidIdentity
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.testing import stream
from flask_ssemux.worker import drain, gunicorn_hooks
from tests.harness.parser import parse

HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}


@pytest.fixture
def mux():
    """X-User names the user; everybody may read `jobs:<id>`, users may read `chat`, and nobody may read `secret`."""
    made = flask_ssemux.SSEMux()
    made.identify(lambda: flask.request.headers.get("X-User"))
    made.authorize("jobs:<id>")(lambda user_id, id: True)
    made.authorize("chat")(lambda user_id: user_id is not None)
    made.authorize("secret")(lambda user_id: False)
    return made


@pytest.fixture
def app(make_app, mux):
    return make_app(mux)


@contextmanager
def opened(app, url="/events", **options):
    """Return a stream's answer, and an iterator over its body."""
    response = app.test_client().get(url, buffered=False, **options)
    try:
        yield response, response.iter_encoded()
    finally:
        response.close()


def first(app, url="/events", **options):
    """Return the first piece of a stream, parsed; then the client leaves."""
    with opened(app, url, **options) as (response, body):
        assert response.status_code == 200
        return parse(next(body))


def names(seen):
    return [frame.event for frame in seen.events]


def refusal(error, call, *args, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    return str(caught.value)


# -- set-up ------------------------------------------------------------------


def test_init_app_twice_is_refused(app, mux):
    message = (
        "flask_ssemux is already set up for 'shop': call init_app once for an application; tenants and blueprints "
        "share its SSEMux (docs/applications.md)"
    )
    assert refusal(ApplicationError, mux.init_app, app) == message
    assert refusal(ApplicationError, flask_ssemux.init_app, app) == message


def test_init_app_of_the_module_returns_an_ssemux(bare_app):
    app = bare_app(SSEMUX_BROKER="memory:")
    assert isinstance(flask_ssemux.init_app(app), flask_ssemux.SSEMux)
    assert "ssemux" in app.extensions


def test_each_application_has_its_own_worker_and_options(make_app, mux):
    one, other = make_app(mux, "one"), make_app(mux, "other", SSEMUX_URL="/stream")
    assert one.extensions["ssemux"].worker is not other.extensions["ssemux"].worker
    assert one.extensions["ssemux"].options.url == "/events"
    assert other.extensions["ssemux"].options.url == "/stream"


@pytest.mark.parametrize(
    "config, message",
    [
        ({"SSEMUX_HEARTBEAT": "often"}, "SSEMUX_HEARTBEAT='often': must be seconds from 0.05 to 3600"),
        ({"SSEMUX_HEARBEAT": 20}, "there is no option SSEMUX_HEARBEAT; did you mean SSEMUX_HEARTBEAT?"),
        (
            {"SSEMUX_BROKER": "redis://:s3cret@localhost?colour=red"},
            "SSEMUX_BROKER='redis://:***@localhost?***': there is no option colour; docs/redis.md lists the options",
        ),
        (
            {"SSEMUX_BROKER": "sqlite:shop.db"},
            "SSEMUX_BROKER='sqlite:shop.db': after sqlite: come three slashes and a path, or four and an absolute one",
        ),
    ],
)
def test_an_invalid_option_is_refused_by_init_app(bare_app, config, message):
    app = bare_app(**config)
    assert refusal(ConfigurationError, flask_ssemux.init_app, app) == message
    assert "ssemux" not in app.extensions


def test_the_environment_is_read(bare_app, monkeypatch):
    monkeypatch.setenv("SSEMUX_URL", "/from/the/environment")
    app = bare_app(SSEMUX_BROKER="memory:")
    flask_ssemux.init_app(app)
    assert first(app, "/from/the/environment").events


def test_init_app_makes_no_file(bare_app):
    app = bare_app()
    flask_ssemux.init_app(app)
    assert not os.path.exists(app.instance_path)


def test_import_and_init_app_open_nothing(tmp_path):
    """No file, thread, connection or gevent hub in a process that only builds the application."""
    code = """if True:
        import os, sys, threading, flask, socket, sqlite3, ssl
        def state(): return os.listdir("/proc/self/fd"), threading.enumerate()
        before = state()
        import flask_ssemux
        assert state() == before, "import"
        flask_ssemux.init_app(flask.Flask("shop", instance_path=sys.argv[1]))
        assert state() == before, "init_app"
        assert not os.path.exists(sys.argv[1]), os.listdir(sys.argv[1])
        print("nothing")
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "instance")],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "nothing\n", done.stderr


# -- the module's functions --------------------------------------------------

CALLS = [
    lambda: flask_ssemux.publish("jobs:1", "x"),
    lambda: flask_ssemux.send_to_user(7, "x"),
    lambda: flask_ssemux.broadcast("x"),
    lambda: flask_ssemux.cursor(),
    lambda: flask_ssemux.publish_many([("jobs:1", "x")])[-1],
]


@pytest.mark.parametrize("call", CALLS)
def test_a_call_outside_of_an_application_context_is_refused(call):
    assert refusal(ApplicationError, call) == (
        "flask_ssemux acts on the current application, and there is none here: write `with app.app_context():` around "
        "this call, or call the method of the application's SSEMux, such as mux.publish; in a process without Flask "
        "use flask_ssemux.Publisher(url)"
    )


@pytest.mark.parametrize("call", CALLS)
def test_a_call_in_an_application_without_the_extension_is_refused(call, bare_app):
    with bare_app().app_context():
        assert refusal(ApplicationError, call) == (
            "flask_ssemux is not set up for 'shop': call flask_ssemux.init_app(app)"
        )


@pytest.mark.parametrize("call", CALLS)
def test_a_call_in_an_application_context_returns_a_cursor(call, app):
    with app.app_context():
        assert isinstance(Cursor.parse(call()), Cursor)


def test_two_applications_on_one_object_do_not_mix(make_app, mux):
    one, other = make_app(mux, "one"), make_app(mux, "other")
    with one.app_context():
        mine = mux.publish("jobs:1", "x")
        assert mux.cursor() == mine
    with other.app_context():
        assert mux.cursor() != mine
        assert mux.cursor().endswith("-0")


def test_the_limit_of_an_event_is_the_option_of_the_application(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_EVENT_BYTES=64)
    with app.app_context():
        for publish in (mux.publish, flask_ssemux.publish):
            refusal(flask_ssemux.EventTooLarge, publish, "jobs:1", "x" * 64)


# -- the response ------------------------------------------------------------


def test_the_headers_of_a_stream(app):
    with opened(app) as (response, _):
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream")
        assert {name: response.headers[name] for name in HEADERS} == HEADERS
        assert response.headers["Content-Encoding"] == "identity"
        assert not {"Connection", "Content-Length", "Transfer-Encoding"} & set(response.headers.keys())


def test_the_first_bytes(app):
    with app.app_context():
        at = flask_ssemux.publish("elsewhere", "x")
    with opened(app) as (_, body):
        retry, rest = next(body).decode().split("\n", 1)
        assert rest == (
            ': ssemux\nevent: ssemux.hello\ndata: {"heartbeat":20.0,"timeout":120.0}\nid: %s\n\n: ssemux\n' % at
        )
        assert 1500 <= int(retry[len("retry: ") :]) <= 4500


def test_streams_have_different_retries(app):
    """The clients of a worker that is killed all lose their streams at the same moment."""
    retries = set()
    for _ in range(50):
        with opened(app) as (_, body):
            retries.add(next(body).split(b"\n", 1)[0])
    assert len(retries) > 20


def test_a_waiting_poll_holds_no_application_context(app):
    left = []
    app.teardown_appcontext(left.append)
    environ = EnvironBuilder(path="/events", query_string="poll=1").get_environ()
    answer = app.wsgi_app(environ, lambda status, headers: None)
    assert left and len(app.extensions["ssemux"].worker.running().hub) == 1
    answer.close()
    assert len(app.extensions["ssemux"].worker.running().hub) == 0


@pytest.mark.parametrize("how", ["now", "1", "true"])
def test_a_poll_with_new_events_is_answered_at_once_and_leaves_no_stream(app, how):
    with app.app_context():
        start = str(flask_ssemux.cursor())
        flask_ssemux.broadcast("all")
    response = app.test_client().get("/events?poll=%s&lastEventId=%s" % (how, start))
    assert names(parse(response.data)) == ["ssemux.hello", "message"]
    assert response.headers["Cache-Control"] == "no-store" and response.headers["X-Accel-Buffering"] == "no"
    assert len(app.extensions["ssemux"].worker.running().hub) == 0


def test_an_unknown_way_to_poll_is_refused(app):
    response = app.test_client().get("/events?poll=yes")
    message = "poll='yes' is not known; use poll=1, which waits for an event, or poll=now, which does not wait"
    assert (response.status_code, response.get_json()) == (400, {"error": "bad_request", "message": message})


def test_head_gets_the_headers_and_opens_no_stream(app):
    response = app.test_client().head("/events")
    assert (response.status_code, response.data) == (200, b"")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert len(app.extensions["ssemux"].worker.running().hub) == 0


REFUSALS = [
    (
        "/events?channel=",
        400,
        {"error": "bad_request", "message": "a channel is a text of 1 to 255 characters, not ''", "channel": ""},
    ),
    (
        "/events?channel=a%0Ab",
        400,
        {
            "error": "bad_request",
            "message": r"channel 'a\nb' has a line break or NUL in it, which would forge a field",
            "channel": "a\nb",
        },
    ),
    (
        "/events?" + "&".join("channel=%d" % number for number in range(101)),
        400,
        {"error": "bad_request", "message": "a stream names at most 100 channels; this one names 101"},
    ),
    (
        "/events?channel=jobs:1&channel=chat",
        401,
        {"error": "unauthorized", "message": "the channel 'chat' needs a user; log in first", "channel": "chat"},
    ),
    (
        "/events?channel=none",
        403,
        {"error": "forbidden", "message": "no rule allows the channel 'none'", "channel": "none"},
    ),
    (
        "/events?channel=user:7",
        403,
        {"error": "forbidden", "message": "the channel 'user:7' is for its user only", "channel": "user:7"},
    ),
]


@pytest.mark.parametrize("url, status, expected", REFUSALS, ids=range(len(REFUSALS)))
@pytest.mark.parametrize("method", ["get", "head"])
def test_refusals(app, method, url, status, expected):
    response = getattr(app.test_client(), method)(url)
    assert (response.status_code, response.mimetype) == (status, "application/json")
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert "Content-Encoding" not in response.headers
    assert method == "head" or response.get_json() == expected
    assert "Connection" not in response.headers


def test_datastar_gets_errors_of_a_type_that_it_does_not_merge_into_the_signals_of_the_page(app):
    plain, special = (
        app.test_client().get("/events?channel=none", headers=headers) for headers in ({}, {"Datastar-Request": "true"})
    )
    assert (special.status_code, special.mimetype) == (403, "application/problem+json")
    assert special.data == plain.data


def test_a_user_whom_a_rule_denies_gets_403(app):
    response = app.test_client().get("/events?channel=secret", headers={"X-User": "ann"})
    assert response.get_json() == {
        "error": "forbidden",
        "message": "you may not read the channel 'secret'",
        "channel": "secret",
    }


def check_headers_against_buffering(response, status):
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in HEADERS} == HEADERS


@pytest.fixture(params=["/events", "/old/stream"])
def stream_url(request, app, mux):
    mux.add_stream("/old/stream", ["jobs:all"])
    return request.param


def test_405_has_the_headers_too(app, stream_url):
    check_headers_against_buffering(app.test_client().post(stream_url), 405)


@pytest.mark.parametrize("method", ["get", "put"])
def test_405_of_other_urls_does_not_change(app, method):
    app.add_url_rule("/save", "save", lambda: "saved", methods=["POST"])
    answer = getattr(app.test_client(), method)("/save")
    assert answer.status_code == 405 and "X-Accel-Buffering" not in answer.headers


def test_404_has_the_headers_too(app, mux, stream_url):
    mux._rules.identify = lambda: flask.abort(404)
    check_headers_against_buffering(app.test_client().get(stream_url), 404)


def test_500_has_the_headers_too(app, mux, stream_url):
    app.config["PROPAGATE_EXCEPTIONS"] = False
    mux._rules.identify = lambda: 1 / 0
    check_headers_against_buffering(app.test_client().get(stream_url), 500)


def test_a_response_of_before_request_has_the_headers_too(app, stream_url):
    app.before_request(lambda: flask.abort(503))
    check_headers_against_buffering(app.test_client().get(stream_url), 503)


def test_other_responses_do_not_change(app):
    app.add_url_rule("/page", "page", lambda: "page")
    for url in ("/page", "/nowhere", "/events/"):
        assert not set(HEADERS) & set(app.test_client().get(url).headers.keys())


def test_identify_must_return_a_user_id(app, mux):
    app.testing = True
    mux._rules.identify = lambda: ["ann"]
    assert refusal(InvalidIdentity, app.test_client().get, "/events") == (
        "identify returned ['ann']: a user's id is a text, an int or a UUID, not ['ann'] of type list"
    )


# -- limits ------------------------------------------------------------------


def sent_away(response):
    """Check that this is a whole stream that says when to come back; return the reason."""
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/event-stream")
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    seen = parse(response.data)
    assert 10_000 <= seen.retry <= 30_000 and not seen.frames and len(seen.comments) == 1
    return seen.comments[0].strip()


def test_a_full_worker_tells_clients_to_come_back(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_STREAMS=1)
    with opened(app) as (_, body):
        next(body)
        why = sent_away(app.test_client().get("/events"))
    assert why == "this worker holds 1 streams, the maximum (SSEMUX_MAX_STREAMS)"
    assert names(first(app)) == ["ssemux.hello"]


def test_clients_of_a_full_worker_come_back_at_different_times(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_STREAMS=1)
    with opened(app):
        answers = [parse(app.test_client().get("/events").data).retry for _ in range(20)]
    assert len(set(answers)) > 10


def test_a_user_at_the_limit_is_told_to_come_back(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_STREAMS_PER_USER=1)
    ann, bob = {"X-User": "ann"}, {"X-User": "bob"}
    with stream(app, user="ann"):
        assert sent_away(app.test_client().get("/events", headers=ann)) == (
            "this user holds 1 streams, the maximum (SSEMUX_MAX_STREAMS_PER_USER)"
        )
        assert names(first(app, headers=bob)) == names(first(app)) == ["ssemux.hello"]
    assert names(first(app, headers=ann)) == ["ssemux.hello"]


def test_a_stream_that_is_never_read_frees_its_slots(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_STREAMS=1, SSEMUX_MAX_STREAMS_PER_USER=1)
    for _ in range(3):
        with opened(app, headers={"X-User": "ann"}):
            assert len(app.extensions["ssemux"].worker.running().hub) == 1
        assert len(app.extensions["ssemux"].worker.running().hub) == 0


def test_a_stream_that_fails_to_open_frees_its_slots(make_app, mux):
    mux.snapshot("jobs:<id>")(lambda id: 1 / 0)
    app = make_app(mux, SSEMUX_MAX_STREAMS=1, SSEMUX_MAX_STREAMS_PER_USER=1)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    ann = {"X-User": "ann"}
    for _ in range(3):
        assert app.test_client().get("/events?channel=jobs:1", headers=ann).status_code == 500
    assert names(first(app, headers=ann)) == ["ssemux.hello"]


def test_a_refused_stream_takes_no_slot(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_STREAMS_PER_USER=1)
    ann = {"X-User": "ann"}
    assert app.test_client().get("/events?channel=secret", headers=ann).status_code == 403
    assert names(first(app, headers=ann)) == ["ssemux.hello"]


def test_while_the_broker_is_unavailable_browsers_are_told_to_come_back(make_app, mux, tmp_path):
    (tmp_path / "file").write_text("x")
    app = make_app(mux, SSEMUX_BROKER="sqlite:///%s/file/x.sqlite3" % tmp_path)
    assert sent_away(app.test_client().get("/events")) == "the broker cannot be reached"


# -- where a client resumes ----------------------------------------------------

PARAMETERS = ["lastEventId", "Last-Event-ID", "last_event_id", "evs_last_event_id"]

HOSTILE = [
    "7",
    "abcd-7",
    "abcd--7",
    "abcd-" + "9" * 18,
    "x" * 3000,
    "' OR 1=1 --",
    "%s%n%00",
    "abcd-٧",
    "abcd-7 ",
    "null",
]


def publish(app, *events):
    with app.app_context():
        return [flask_ssemux.publish(channel, data) for channel, data in events]


@pytest.mark.parametrize("said", HOSTILE, ids=lambda said: ascii(said)[:20])
@pytest.mark.parametrize("parameter", PARAMETERS)
def test_an_unknown_cursor_gets_a_reset_first(app, parameter, said):
    seen = first(app, query_string={parameter: said, "channel": "jobs:1"})
    reset, hello = seen.events
    assert (reset.event, hello.event) == ("ssemux.reset", "ssemux.hello")
    reason = "epoch" if Cursor.parse(said) else "unknown"
    assert flask.json.loads(reset.data) == {"channels": ["jobs:1", "*"], "reason": reason}
    assert (reset.own_id, Cursor.parse(hello.own_id).sequence) == (None, 0)


@pytest.mark.parametrize("said", ["7", "-1", "x" * 3000, "' OR 1=1 --", "%s%n", "null"], ids=lambda said: said[:20])
def test_an_unknown_cursor_in_the_header_gets_a_reset_too(app, said):
    assert names(first(app, headers={"Last-Event-ID": said})) == ["ssemux.reset", "ssemux.hello"]


@pytest.mark.parametrize("said", ["a%0Ab", "a%0D%0Ab", "%00", "%0A"])
def test_line_breaks_in_a_cursor_forge_no_field(app, said):
    assert names(first(app, "/events?lastEventId=" + said)) == ["ssemux.reset", "ssemux.hello"]


def test_a_cursor_of_the_future(app):
    (at,) = publish(app, ("jobs:1", "x"))
    seen = first(app, headers={"Last-Event-ID": str(Cursor(Cursor.parse(at).epoch, 2))})
    assert flask.json.loads(seen.events[0].data) == {"channels": ["*"], "reason": "future"}


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_missed_events_are_replayed(app, parameter):
    at = publish(app, ("jobs:1", "a"), ("jobs:2", "b"), ("jobs:1", "c"), ("*", "d"))
    seen = first(app, query_string={"channel": "jobs:1", parameter: at[0]})
    assert [(event.event, event.data, event.id) for event in seen.events[1:]] == [
        ("message", "c", at[2]),
        ("message", "d", at[3]),
    ]
    assert (names(seen)[0], seen.events[0].id) == ("ssemux.hello", at[0])


def test_the_newest_cursor_wins(app):
    at = publish(app, ("*", "a"), ("*", "b"), ("*", "c"))
    seen = first(app, "/events?lastEventId=" + at[0], headers={"Last-Event-ID": at[1]})
    assert [event.data for event in seen.events[1:]] == ["c"]


def test_an_empty_cursor_is_ignored(app):
    publish(app, ("*", "a"))
    assert names(first(app, "/events?lastEventId=", headers={"Last-Event-ID": ""})) == ["ssemux.hello"]


def test_trimmed_history_causes_a_reset(make_app, mux):
    app = make_app(mux, SSEMUX_HISTORY_EVENTS=1)
    at = publish(app, ("jobs:1", "a"), ("jobs:1", "b"), ("jobs:1", "c"), ("*", "d"))
    seen = first(app, query_string={"channel": "jobs:1", "lastEventId": at[0]})
    assert flask.json.loads(seen.events[0].data) == {"channels": ["jobs:1"], "reason": "history"}
    assert names(seen) == ["ssemux.reset", "ssemux.hello", "message"]
    assert seen.events[-1].data == "d"


# -- snapshots ---------------------------------------------------------------


@pytest.fixture
def with_snapshots(make_app, mux):
    mux.snapshot("jobs:<id>")(lambda id: [("progress", {"job": id}), ("log", "line")])
    mux.snapshot("chat")(lambda: [("said", "hi")])
    return make_app(mux)


def test_snapshots_come_after_the_hello_in_the_order_of_the_channels(with_snapshots):
    seen = first(with_snapshots, "/events?channel=chat&channel=jobs:1", headers={"X-User": "ann"})
    assert [(event.event, event.data, event.fields) for event in seen.events[1:]] == [
        ("said", "hi", {"channel": "chat"}),
        ("progress", '{"job":"1"}', {"channel": "jobs:1"}),
        ("log", "line", {"channel": "jobs:1"}),
    ]


def test_the_cursor_comes_with_the_last_of_them(with_snapshots):
    (at,) = publish(with_snapshots, ("*", "a"))
    seen = first(with_snapshots, "/events?channel=jobs:1")
    assert [event.own_id for event in seen.events] == [None, None, at]


def test_a_client_that_resumes_gets_no_snapshot(with_snapshots):
    (at,) = publish(with_snapshots, ("*", "a"))
    seen = first(with_snapshots, "/events?channel=jobs:1&lastEventId=" + at)
    assert [(event.event, event.own_id) for event in seen.events] == [("ssemux.hello", at)]


def test_a_client_whose_cursor_is_unknown_gets_the_snapshot(with_snapshots):
    seen = first(with_snapshots, "/events?channel=jobs:1&lastEventId=junk")
    assert names(seen) == ["ssemux.reset", "ssemux.hello", "progress", "log"]


def test_snapshots_are_called_inside_the_request(make_app, mux):
    mux.snapshot("jobs:<id>")(lambda id: [("path", flask.request.path)])
    assert first(make_app(mux), "/events?channel=jobs:1").events[-1].data == "/events"


# -- streams of the application's own ----------------------------------------


def test_a_stream_of_a_literal_channel(app, mux):
    mux.add_stream("/api/jobs/stream", ["jobs", "news"], public=True)
    with stream(app, "/api/jobs/stream", user="ann") as seen:
        publish(app, ("jobs", "a"), ("*", "b"), ("user:ann", "b"), ("news", "c"))
        assert [event.data for event in seen.rest()] == ["a", "c"]


def test_a_client_cannot_add_channels_to_it(app, mux):
    mux.add_stream("/api/jobs/stream", ["jobs"], public=True)
    with stream(app, "/api/jobs/stream", channels=["secret"]) as seen:
        publish(app, ("secret", "a"))
        assert seen.rest() == []


def test_a_personal_stream_has_the_users_and_everyones_channel(app, mux):
    mux.add_stream("/mine", ["jobs"], public=True, personal=True)
    with stream(app, "/mine", user="ann") as seen:
        publish(app, ("user:ann", "a"), ("user:bob", "b"), ("*", "c"))
        assert [event.data for event in seen.rest()] == ["a", "c"]


def test_a_stream_of_a_channel_that_the_url_fills_in(app, mux):
    mux.add_stream("/api/jobs/<int:job>/stream", ["jobs:<job>"])
    with stream(app, "/api/jobs/2/stream") as seen:
        publish(app, ("jobs:1", "a"), ("jobs:2", "b"))
        assert [(event.data, event.channel) for event in seen.rest()] == [("b", "jobs:2")]


def test_the_rule_of_a_channel_from_the_url_is_applied(app, mux):
    mux.add_stream("/notes/<id>", ["notes:<id>"])
    response = app.test_client().get("/notes/1")
    assert (response.status_code, response.get_json()["channel"]) == (403, "notes:1")
    assert {name: response.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize("value", ["1:2", "1%0A2", "1%002", "x" * 300], ids=["colon", "lf", "nul", "long"])
def test_a_url_cannot_fill_in_an_invalid_channel(app, mux, value):
    mux.add_stream("/api/jobs/<id>/stream", ["jobs:<id>"])
    with opened(app, "/api/jobs/%s/stream" % value) as (response, _):
        assert response.status_code == 400


def test_a_url_cannot_fill_in_a_users_own_channel(app, mux):
    mux.add_stream("/any/<kind>/<id>", ["<kind>:<id>"])
    mux.authorize("<kind>:<id>")(lambda user_id, kind, id: True)
    with opened(app, "/any/user/ann") as (response, _):
        assert response.status_code in (400, 403)


def test_streams_reach_applications_that_are_set_up_later(make_app, mux):
    mux.add_stream("/one", ["jobs"], public=True)
    one = make_app(mux, "one")
    mux.add_stream("/two", ["jobs"], public=True)
    other = make_app(mux, "other")
    for app in (one, other):
        for url in ("/one", "/two"):
            assert names(first(app, url)) == ["ssemux.hello"]


def test_an_endpoint_for_url_for(app, mux):
    mux.add_stream("/one", ["jobs"], public=True, endpoint="jobs_stream")
    mux.add_stream("/two", ["jobs"], public=True)
    with app.test_request_context():
        assert flask.url_for("jobs_stream") == "/one"
        assert flask.url_for("ssemux_two") == "/two"
        assert flask.url_for("ssemux.events") == "/events"


def test_similar_urls_get_different_endpoints(app, mux):
    for url in ("/a/b", "/a_b", "/<a>/x", "/a/x"):
        mux.add_stream(url, ["jobs"], public=True)
    for url in ("/a/b", "/a_b", "/z/x", "/a/x"):
        assert names(first(app, url)) == ["ssemux.hello"]


def test_channels_must_be_a_list(app, mux):
    assert refusal(ApplicationError, mux.add_stream, "/x", "jobs") == "channels is a list of names; write ['jobs']"


@pytest.mark.parametrize("channel", ["*", "user:7", "user:<id>"])
def test_a_stream_cannot_name_everyones_or_a_users_channel(app, mux, channel):
    refusal(InvalidChannel, mux.add_stream, "/x", [channel])


def test_a_variable_that_the_url_does_not_have_is_refused(app, mux):
    refusal(ApplicationError, mux.add_stream, "/x/<job_id>", ["jobs:<id>"])


# -- wrapped views ------------------------------------------------------------


def test_streaming_needs_the_extension(bare_app):
    app = bare_app()
    app.testing = True
    app.add_url_rule("/old", "old", flask_ssemux.streaming(lambda: flask.Response(iter(["data: 1\n\n"]))))
    assert refusal(ApplicationError, app.test_client().get, "/old") == (
        "flask_ssemux is not set up for 'shop': call flask_ssemux.init_app(app)"
    )


def old(app, view):
    app.add_url_rule("/old", "old", flask_ssemux.streaming(view))
    return app.test_client().get("/old")


def numbers():
    for number in range(3):
        yield "data: %d\n\n" % number


def answer_with_cookie():
    response = flask.Response(numbers(), status=201, mimetype="text/event-stream", headers={"X-Own": "1"})
    response.set_cookie("seen", "1")
    return response


def test_a_wrapped_view_keeps_its_status_headers_and_cookies(app):
    response = old(app, answer_with_cookie)
    assert (response.status_code, response.headers["X-Own"]) == (201, "1")
    assert response.headers["Set-Cookie"].startswith("seen=1")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.headers["Content-Encoding"] == "identity"
    assert {name: response.headers[name] for name in HEADERS} == HEADERS
    assert [event.data for event in parse(response.data).events] == ["0", "1", "2"]


def test_a_wrapped_view_keeps_its_content_encoding(app):
    response = old(app, lambda: flask.Response(numbers(), headers={"Content-Encoding": "br"}))
    assert response.headers["Content-Encoding"] == "br"


@pytest.mark.parametrize("view", [numbers, lambda: (numbers(), 200), lambda: (numbers(), {"X-Own": "1"})])
def test_a_wrapped_view_may_return_a_generator(app, view):
    assert [event.data for event in parse(old(app, view).data).events] == ["0", "1", "2"]


def test_a_wrapped_view_sends_its_first_bytes_at_once(app):
    assert old(app, numbers).data.startswith(b"retry: 3000\n: ssemux\ndata: 0\n\n")


def test_a_redirect_of_a_wrapped_view_does_not_change(app):
    response = old(app, lambda: flask.redirect("/login"))
    assert (response.status_code, response.headers["Location"].endswith("/login")) == (302, True)


def test_a_wrapped_generator_that_raises_ends_its_stream(app, caplog):
    def raising():
        yield "data: 1\n\n"
        raise ValueError("old bug")

    assert [event.data for event in parse(old(app, raising).data).events] == ["1"]
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "the generator of a wrapped stream raised; the stream ends"
    assert str(record.exc_info[1]) == "old bug"


def test_a_wrapped_generator_is_closed_when_its_client_leaves(app):
    ended = []

    def endless():
        try:
            while True:
                yield "data: 1\n\n"
        finally:
            ended.append(True)

    app.add_url_rule("/old", "old", flask_ssemux.streaming(endless))
    with opened(app, "/old") as (_, body):
        next(body), next(body)
        assert ended == []
    assert ended == [True]


def test_a_wrapped_stream_counts_among_the_workers_streams(make_app, mux):
    app = make_app(mux, SSEMUX_MAX_STREAMS=1)
    app.add_url_rule("/old", "old", flask_ssemux.streaming(numbers))
    with opened(app, "/old") as (_, body):
        next(body)
        assert "SSEMUX_MAX_STREAMS" in sent_away(app.test_client().get("/events"))
        assert "SSEMUX_MAX_STREAMS" in sent_away(app.test_client().get("/old"))
    assert names(first(app)) == ["ssemux.hello"]


def test_a_wrapped_stream_that_never_begins_frees_its_slot(app, monkeypatch):
    """Its request fails after the view: no server reads or closes the response."""
    monkeypatch.setattr(app.logger, "disabled", True)  # pytest keeps what is logged, and with it the response

    @app.after_request
    def fail(response):
        raise RuntimeError("after the view")

    assert old(app, numbers).status_code == 500
    gc.collect()
    assert app.extensions["ssemux"].worker.count_streams() == 0


def test_a_worker_that_has_not_noticed_a_new_epoch_tells_clients_to_come_back_soon(make_app):
    app = make_app()
    worker = app.extensions["ssemux"].worker
    worker.running().hub.open_stream(("a",), None)
    worker.broker.history._epoch = "newlife0"
    answer = app.test_client().get("/events", headers={"Last-Event-ID": "newlife0-7"})
    assert answer.status_code == 200
    retry, said = answer.data.decode().rstrip("\n").split("\n")
    assert 1500 <= int(retry[len("retry: ") :]) <= 4500
    assert said == ": the history began anew, and this worker has yet to hear of it"


def test_worker_exit_in_the_master_does_not_keep_the_next_worker_from_ending_its_streams(make_app):
    """gunicorn's master calls ``worker_exit`` too, for a worker that it finds gone; the next one is forked from it."""
    worker = make_app().extensions["ssemux"].worker
    gunicorn_hooks.worker_exit(None, None)
    worker.disown()  # as in the child, after the fork
    stream = worker.running().hub.open_stream(("a",), None)
    gunicorn_hooks.worker_exit(None, None)
    assert stream.reason == drain.STOPPING
