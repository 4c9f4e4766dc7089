"""The stand-in for Flask-SSE: what it opens and what it does not, its configuration, and its other documented names."""

from __future__ import annotations

import json
import logging
import threading
import uuid

import flask
import pytest

import flask_ssemux
from flask_ssemux import flask_sse, testing
from flask_ssemux.errors import ApplicationError, ConfigurationError, InvalidChannel, InvalidEvent
from flask_ssemux.flask_sse import Message, ServerSentEventsBlueprint
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.testing import stream
from tests.harness.document import block
from tests.harness.packages import need_python
from tests.harness.parser import parse
from tests.harness.waiting import until


@pytest.fixture
def blueprint():
    """Like ``sse``, which is one object for a whole process."""
    made = ServerSentEventsBlueprint("sse", __name__)
    made.add_url_rule("", endpoint="stream", view_func=made.stream)
    return made


@pytest.fixture
def register(bare_app, blueprint):
    """register(SSEMUX_…=…): an application with the blueprint at /stream, closed after the test."""
    made = []

    def make(name="shop", **config):
        app = bare_app(name, **{"SSEMUX_BROKER": "memory:", **config})
        app.register_blueprint(blueprint, url_prefix="/stream")
        made.append(app)
        return app

    yield make
    for app in made:
        testing.close(app)


@pytest.fixture
def app(register):
    return register()


def refusal(error, call, *args, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    return str(caught.value)


def list_data(app, path, **options):
    """Return the data of the events that a short request gets."""
    response = app.test_client().get(path + ("&" if "?" in path else "?") + "poll=now", **options)
    assert response.status_code == 200
    return [event.data for event in parse(response.data).events if not event.event.startswith("ssemux.")]


# -- publish and stream ------------------------------------------------------


def test_events_of_a_channel_and_of_the_default_channel(app, blueprint):
    with stream(app, "/stream") as default, stream(app, "/stream?channel=users.social") as social, app.app_context():
        first = blueprint.publish({"message": "Hello!"}, type="greeting")
        blueprint.publish("text")
        blueprint.publish({"n": uuid.UUID(int=1)}, channel="users.social")
        assert default.expect("greeting", {"message": "Hello!"}).id == first
        assert default.expect("message", "text").channel == "sse:sse"
        assert [event.data for event in default.rest()] == []
        assert [event.data for event in social.rest()] == ['{"n":"00000000-0000-0000-0000-000000000001"}']


def test_arguments_by_position_and_empty_ones(app, blueprint):
    with stream(app, "/stream?channel=a") as events, stream(app, "/stream?channel=") as default, app.app_context():
        blueprint.publish("1", "greeting", None, None, "a")
        blueprint.publish("2", type="", id="", retry=0, channel="a")
        assert [(event.event, event.data) for event in events.rest()] == [("greeting", "1"), ("message", "2")]
        assert 1500 <= events.retry <= 4500 and default.rest() == []


def test_a_reconnecting_client_misses_nothing(app, blueprint):
    with app.app_context():
        cursor = blueprint.publish("1")
        blueprint.publish("2")
        blueprint.publish("elsewhere", channel="other")
    with stream(app, "/stream", last_event_id=cursor) as events:
        assert [event.data for event in events.rest()] == ["2"]


def test_retry_is_sent_to_clients(app, blueprint):
    with stream(app, "/stream") as events, app.app_context():
        blueprint.publish("1", retry=7000)
        assert events.next().data == "1" and events.retry == 7000
        for bad in ("7000", True, -1, 1.5):
            assert refusal(InvalidEvent, blueprint.publish, "x", retry=bad) == (
                "retry is a number of milliseconds, an int, not %r" % (bad,)
            )


def test_an_id_has_no_effect_and_that_is_logged_once(app, blueprint, monkeypatch, caplog):
    monkeypatch.setattr(flask_sse, "_is_id_logged", False)
    with stream(app, "/stream") as events, app.app_context(), caplog.at_level(logging.WARNING, "flask_ssemux"):
        cursors = [blueprint.publish("x", id="mine") for _ in range(2)]
        assert [event.id for event in events.rest()] == cursors
    assert len([text for text in caplog.messages if "sse.publish(id=...) has no effect" in text]) == 1


def test_a_device_thread_needs_no_context(app, blueprint):
    with stream(app, "/stream") as events:
        thread = threading.Thread(target=blueprint.publish, args=("21.5",))
        thread.start()
        thread.join()
        assert events.next().data == "21.5"


def test_which_application_is_meant(register, blueprint):
    assert refusal(ApplicationError, blueprint.publish, "x") == (
        "this blueprint has no application: register it with one first; in a process without Flask use "
        "flask_ssemux.Publisher(url)"
    )
    register("house")
    garden = register("garden")
    assert "this blueprint has 2 applications, <Flask 'garden'>, <Flask 'house'>, and" in refusal(
        ApplicationError, blueprint.publish, "x"
    )
    with stream(garden, "/stream") as events, garden.app_context():
        blueprint.publish("x")
        assert events.next().data == "x"


@pytest.mark.parametrize("channel", ["", "a\nb", "x" * 252, None, 7])
def test_names_that_no_channel_can_have(app, blueprint, channel):
    with app.app_context():
        refusal(InvalidChannel, blueprint.publish, "x", channel=channel)


@pytest.mark.parametrize("channel", ["a%0Ab", "%00", "x" * 252])
def test_a_client_that_names_such_a_channel_is_refused(app, channel):
    assert app.test_client().get("/stream?channel=" + channel).status_code == 400


@pytest.mark.parametrize("channel", ["https://shop.example/a?b", "urn:x:y", "user:7", "ssemux.control", "*", "größe"])
def test_any_other_name_is_a_channel_of_its_own(app, blueprint, channel):
    with stream(app, "/stream?" + flask_sse_query(channel)) as events, app.app_context():
        blueprint.publish("x", channel=channel)
        assert [event.data for event in events.rest()] == ["x"]


def flask_sse_query(channel):
    from urllib.parse import urlencode

    return urlencode({"channel": channel})


# -- who may read what -------------------------------------------------------


def test_no_other_channel_is_opened(app, blueprint, caplog):
    """Neither a channel of flask_ssemux without a rule, nor a user's own, nor everyone's."""
    with app.app_context():
        for channel in ("secret", "sse", "user:7", "*"):
            flask_ssemux.publish(channel, "x")
    start = {"Last-Event-ID": "%s-0" % Cursor.parse(app_cursor(app)).epoch}
    for name in ("secret", "sse", "user:7", "*"):
        assert list_data(app, "/stream?" + flask_sse_query(name), headers=start) == []
    for name in ("sse:sse", "sse:secret"):
        assert app.test_client().get("/events?channel=" + name).status_code == 404


def app_cursor(app):
    with app.app_context():
        return flask_ssemux.cursor()


@pytest.mark.parametrize("query", ["channel=open&channel=analytics", "channel=open&new=analytics", "channel=open"])
def test_a_guard_sees_the_channel_that_is_served(register, blueprint, query):
    @blueprint.before_request
    def check_access():
        if flask.request.args.get("channel") == "analytics":
            flask.abort(403)

    app = register()
    with stream(app, "/stream?" + query) as events, app.app_context():
        blueprint.publish("secret", channel="analytics")
        blueprint.publish("public", channel="open")
        assert [event.data for event in events.rest()] == ["public"]
    for path in ("/stream?channel=analytics", "/stream?channel=analytics&channel=open", "/stream/?channel=analytics"):
        assert app.test_client().get(path).status_code in (403, 404)


def test_a_rule_is_applied(register, bare_app, blueprint):
    app = bare_app(SSEMUX_BROKER="memory:")
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: flask.request.headers.get("X-User"))
    mux.authorize("sse:analytics")(lambda user_id: user_id == "admin")
    app.register_blueprint(blueprint, url_prefix="/stream")
    client = app.test_client()
    assert client.get("/stream?channel=analytics").status_code == 401
    assert client.get("/stream?channel=analytics", headers={"X-User": "ann"}).status_code == 403
    with app.app_context():
        cursor = blueprint.publish("1", channel="other")
        blueprint.publish("2", channel="analytics")
        blueprint.publish("3", channel="other")
    headers = {"X-User": "admin", "Last-Event-ID": cursor}
    assert list_data(app, "/stream?channel=analytics", headers=headers) == ["2"]
    assert list_data(app, "/events?channel=sse:analytics", headers=headers) == ["2"]
    assert list_data(app, "/stream?channel=other", headers={"Last-Event-ID": cursor}) == ["3"]
    testing.close(app)


def test_a_view_of_the_applications_own_and_a_decorated_one(register, blueprint):
    def login_required(view):
        return lambda **values: view(**values) if flask.request.headers.get("X-User") else flask.abort(401)

    app = register()
    app.view_functions["sse.stream"] = login_required(app.view_functions["sse.stream"])
    app.add_url_rule("/mine", "mine", login_required(lambda: blueprint.stream()))
    for path in ("/stream", "/mine"):
        assert app.test_client().get(path).status_code == 401
        with stream(app, path, headers={"X-User": "ann"}) as events, app.app_context():
            blueprint.publish(path)
            assert events.next().data == path


def list_warnings(caplog):
    return [text for text in caplog.messages if "open to everyone" in text]


def test_that_everyone_may_read_is_logged_once(app, caplog):
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        for _ in range(2):
            list_data(app, "/stream")
    assert list_warnings(caplog) == [
        "/stream is open to everyone, as in Flask-SSE: every client may read every channel of sse.publish; "
        "docs/flask-sse.md says how to guard them"
    ]


@pytest.mark.parametrize("guard", ["before_request", "rule", "decorator"])
def test_it_is_not_logged_if_something_guards_them(bare_app, blueprint, caplog, guard):
    app = bare_app(SSEMUX_BROKER="memory:")
    mux = flask_ssemux.SSEMux(app)
    if guard == "before_request":
        blueprint.before_request(lambda: None)
    if guard == "rule":
        mux.authorize("sse:<name>")(lambda user_id, name: True)
    app.register_blueprint(blueprint, url_prefix="/stream")
    if guard == "decorator":
        view = app.view_functions["sse.stream"]
        app.view_functions["sse.stream"] = lambda: view()
    with caplog.at_level(logging.WARNING, "flask_ssemux"):
        list_data(app, "/stream")
    assert list_warnings(caplog) == []
    testing.close(app)


# -- setting up --------------------------------------------------------------


def get_options(app):
    return app.extensions["ssemux"].options


def test_which_store_is_used(bare_app, blueprint, monkeypatch):
    def find_broker(**config):
        app = bare_app(**config)
        made = ServerSentEventsBlueprint("sse", __name__)
        app.register_blueprint(made)
        return get_options(app).broker

    one, two = "redis://127.0.0.1:1/1", "redis://127.0.0.1:1/2"
    assert find_broker() == find_broker(REDIS_URL=None) == find_broker(REDIS_URL="") == "sqlite:"
    assert find_broker(REDIS_URL=one) == find_broker(REDIS_URL=two, SSE_REDIS_URL=one) == one
    assert find_broker(REDIS_URL=one, SSEMUX_BROKER="memory:") == "memory:"
    monkeypatch.setenv("SSEMUX_BROKER", two)
    assert find_broker(REDIS_URL=one) == two


def test_a_url_that_cannot_be_used_is_named_by_its_keys(bare_app, blueprint):
    message = refusal(
        ConfigurationError, bare_app(REDIS_URL="redis://:s3cret@localhost?colour=red").register_blueprint, blueprint
    )
    assert message.endswith(" (it is the application's SSE_REDIS_URL or REDIS_URL)") and "s3cret" not in message


def test_a_url_that_is_set_too_late_is_refused(register, blueprint):
    app = register()
    app.config["REDIS_URL"] = "redis://:s3cret@localhost"
    with app.app_context():
        assert refusal(ApplicationError, blueprint.publish, "x") == (
            "SSE_REDIS_URL or REDIS_URL was changed after app.register_blueprint(sse), which has read it: set it before"
        )


def test_there_is_no_other_stream_unless_it_is_wanted(register, blueprint):
    assert get_options(register()).url is None
    assert get_options(register("second", SSEMUX_URL="/events")).url == "/events"


def test_a_page_of_the_application_at_the_usual_url(bare_app, blueprint):
    app = bare_app(SSEMUX_BROKER="memory:")
    app.add_url_rule("/events", "events", lambda: "a calendar")
    app.register_blueprint(blueprint, url_prefix="/stream")
    assert app.test_client().get("/events").data == b"a calendar"


def test_the_application_sets_itself_up_before_and_not_after(bare_app, blueprint):
    app = bare_app(SSEMUX_BROKER="memory:", SSEMUX_URL="/all")
    flask_ssemux.init_app(app)
    app.register_blueprint(blueprint, url_prefix="/stream")
    assert get_options(app).url == "/all"
    later = bare_app("later", SSEMUX_BROKER="memory:")
    later.register_blueprint(blueprint, url_prefix="/stream")
    message = "is already set up for 'later' by app.register_blueprint of flask_ssemux.flask_sse; call init_app before"
    assert message in refusal(ApplicationError, flask_ssemux.init_app, later)


def test_the_url_prefix_may_be_missing_and_url_for_works(bare_app, blueprint):
    app = bare_app(SSEMUX_BROKER="memory:")
    app.register_blueprint(blueprint, url_prefix="/sse")
    with app.test_request_context():
        assert flask.url_for("sse.stream", channel="users.social") == "/sse?channel=users.social"


def test_the_answer_has_the_headers_of_a_stream_and_a_refusal_too(register, blueprint):
    blueprint.before_request(lambda: flask.abort(403) if flask.request.args.get("channel") == "x" else None)
    app = register()
    for path, status in (("/stream", 200), ("/stream?channel=x", 403)):
        response = app.test_client().get(path, buffered=False)
        assert response.status_code == status and response.headers["X-Accel-Buffering"] == "no"
        response.close()


def test_the_redis_of_the_application(bare_app, blueprint):
    app = bare_app(SSE_REDIS_URL="redis://one:1", REDIS_URL="redis://two:2", SSEMUX_BROKER="memory:")
    with app.app_context():
        assert blueprint.redis.connection_pool.connection_kwargs["host"] == "one"
    with bare_app("other").app_context():
        message = "'neither SSE_REDIS_URL nor REDIS_URL is set in app.config'"
        assert refusal(KeyError, lambda: blueprint.redis) == message


# -- docs/flask-sse.md -----------------------------------------------------------


def test_the_example_of_the_page(monkeypatch, tmp_path):
    monkeypatch.setenv("SSEMUX_BROKER", "memory:")
    monkeypatch.delenv("REDIS_URL", raising=False)
    source = block("flask-sse.md", "python", "# house.py")
    names: dict = {"__name__": "house"}
    exec(source, names)
    with stream(names["app"], "/stream") as events:
        assert names["app"].test_client().get("/send").data == b"Message sent!"
        events.expect("greeting", {"message": "Hello!"})
    testing.close(names["app"])


def test_the_steps_of_the_page_can_be_taken_one_by_one(bare_app, blueprint):
    """Old and new code, and old and new pages, share the events."""
    app = bare_app(SSEMUX_BROKER="memory:")
    names = {"app": app, "flask_ssemux": flask_ssemux, "sse": blueprint, "ADMINS": ["admin"]}
    exec(block("flask-sse.md", "python", "mux = flask_ssemux.SSEMux(app)"), names)
    mux = names["mux"]
    mux.authorize("sse:<path:name>")(lambda user_id, name: True)
    mux.add_stream("/old", channels=["sse:sse"])
    pages = ["/stream", "/events?channel=sse:sse", "/old"]
    with stream(app, pages[0]) as one, stream(app, pages[1]) as two, stream(app, pages[2]) as three, app.app_context():
        blueprint.publish({"n": 1}, type="greeting")
        mux.publish("sse:sse", {"n": 2}, event="greeting")
        for events in (one, two, three):
            assert [(event.event, event.json) for event in events.rest()] == [
                ("greeting", {"n": 1}),
                ("greeting", {"n": 2}),
            ]
    assert stream(app, "/stream?channel=analytics", user="ann").status == 403
    with stream(app, "/stream?channel=analytics", user="admin") as events, app.app_context():
        blueprint.publish("x", channel="analytics")
        assert events.next().data == "x"
    testing.close(app)


# -- messages ----------------------------------------------------------------


def read_in_thread(app, blueprint, found, **options):
    def read():
        with app.app_context():
            for message in blueprint.messages(**options):
                found.append(message)
                if message.data == "end":
                    return

    hub = app.extensions["ssemux"].worker.running().hub
    before = len(hub)
    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: len(hub) > before, 5, "the thread does not read")
    return thread


def test_messages_are_those_that_are_published_from_then_on(app, blueprint):
    found: list = []
    blueprint.publish("before")
    thread = read_in_thread(app, blueprint, found)
    blueprint.publish({"message": "Hello!"}, type="greeting", retry=5000)
    blueprint.publish("elsewhere", channel="other")
    blueprint.publish([1, 2])
    blueprint.publish("a\nb")
    blueprint.publish(7)
    blueprint.publish("{not json")
    blueprint.publish("end")
    thread.join(5)
    assert found == [
        Message({"message": "Hello!"}, type="greeting", retry=5000), Message([1, 2]), Message("a\nb"), Message("7"),
        Message("{not json"), Message("end"),
    ]  # fmt: skip
    until(lambda: len(app.extensions["ssemux"].worker.running().hub) == 0, 5, "the stream stays open")


def test_a_slow_reader_of_messages_misses_nothing(register, blueprint):
    app = register(SSEMUX_QUEUE_EVENTS=10)
    found: list = []
    messages = blueprint.messages("a")
    thread = threading.Thread(target=lambda: found.append(next(messages)))
    hub = app.extensions["ssemux"].worker.running().hub
    thread.start()
    until(lambda: len(hub) == 1, 5, "the thread does not read")
    blueprint.publish("0", channel="a")
    thread.join(5)
    for number in range(1, 100):  # while nobody reads: the queue overflows, and the reader resumes
        blueprint.publish("%d" % number, channel="a")
    found += [next(messages) for _ in range(99)]
    assert [message.data for message in found] == ["%d" % number for number in range(100)]
    messages.close()
    assert len(hub) == 0


def test_messages_end_with_the_worker(app, blueprint):
    found: list = []
    thread = read_in_thread(app, blueprint, found)
    testing.close(app)
    thread.join(5)
    assert not thread.is_alive() and found == []


def test_messages_begin_no_stream_while_the_worker_stops(app, blueprint, monkeypatch):
    """The thread runs when its stream was ended and the worker is not closed yet."""
    thread, worker = read_in_thread(app, blueprint, []), app.extensions["ssemux"].worker
    hub, close = worker.running().hub, worker.close
    opened: list = []
    monkeypatch.setattr(
        hub, "open_stream", lambda *values: opened.append(values) or type(hub).open_stream(hub, *values)
    )

    def close_later():
        until(lambda: opened or not thread.is_alive(), 5, "the thread does not run")
        close()

    monkeypatch.setattr(worker, "close", close_later)
    testing.close(app)
    thread.join(5)
    assert not thread.is_alive() and not opened


MESSAGES = [
    ("text",),
    ({"a": 1},),
    ("a\nb", "greeting"),
    ("x", None, "7", 3000),
    ([1], "t", 5, 1),
    ("x", "", "", 0),
]


@pytest.mark.parametrize("fields", MESSAGES, ids=str)
def test_a_message_is_what_flask_sse_makes_of_it(fields):
    real = need_python("flask-sse", "flask_sse").Message(*fields)
    ours = Message(*fields)
    with flask.Flask("shop").app_context():
        (theirs_seen,), (seen,) = parse(str(real).encode()).frames, parse(str(ours).encode()).frames
    assert (seen.event, seen.own_id, seen.retry) == (theirs_seen.event, theirs_seen.own_id, theirs_seen.retry)
    assert read_data(seen.data) == read_data(theirs_seen.data)
    assert ours.to_dict() == real.to_dict() and repr(ours) == repr(real).replace("u'", "'")


def read_data(text):
    return json.loads(text) if text[:1] in "{[" else text


def test_messages_that_would_forge_a_field():
    assert Message("x", id="7") == Message("x", id="7") != Message("x", id="8")
    for fields in ({"type": "a\nb"}, {"id": "a\nb"}, {"id": "ä"}, {"retry": "x"}):
        refusal(InvalidEvent, str, Message("x", **fields))
