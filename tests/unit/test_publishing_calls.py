"""How publishing functions are called: without an application context, and with arguments that they do not have."""

from __future__ import annotations

import gc
import threading

import flask
import pytest

import flask_ssemux
from flask_ssemux import Publisher, testing
from flask_ssemux.errors import ApplicationError
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.testing import stream
from tests.harness.waiting import until


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.authorize("temperature")(lambda user_id: True)
    return made


def refusal(error, call, *args, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    return str(caught.value)


# -- without an application context --------------------------------------------

CALLS = {
    "publish": lambda mux: mux.publish("temperature", 21.5),
    "send_to_user": lambda mux: mux.send_to_user(7, 21.5),
    "broadcast": lambda mux: mux.broadcast(21.5),
    "publish_many": lambda mux: mux.publish_many([("temperature", 21.5)])[0],
    "cursor": lambda mux: mux.cursor(),
    "disconnect": lambda mux: mux.disconnect(7),
    "revoke": lambda mux: mux.revoke(7, "temperature"),
}


def test_a_device_thread_publishes_to_the_only_application(make_app, mux):
    app = make_app(mux)
    with stream(app, channels=["temperature"]) as events:
        thread = threading.Thread(target=lambda: mux.publish("temperature", {"celsius": 21.5}, event="reading"))
        thread.start()
        thread.join()
        assert events.expect("reading", {"celsius": 21.5}).channel == "temperature"


@pytest.mark.parametrize("name", CALLS)
def test_each_method_acts_on_the_only_application(make_app, mux, name):
    app = make_app(mux)
    cursor = Cursor.parse(CALLS[name](mux))
    with app.app_context():
        assert cursor == Cursor.parse(flask_ssemux.cursor())


def test_presence_and_tickets_of_the_only_application(make_app, mux):
    mux.track_presence("*")
    app = make_app(mux, SECRET_KEY="s3cret")
    with stream(app, user=7):
        until(lambda: mux.presence("*") == {"7": 1}, 5, lambda: str(mux.presence("*")))
    assert app.test_client().get("/events?poll=now&ticket=" + mux.ticket(7)).status_code == 200


@pytest.mark.parametrize("name", CALLS)
def test_several_applications_need_a_context(make_app, mux, name):
    make_app(mux, "house")
    two = make_app(mux, "garden")
    assert refusal(ApplicationError, CALLS[name], mux) == (
        "this SSEMux has 2 applications, <Flask 'garden'>, <Flask 'house'>, and there is no current one here: write "
        "`with app.app_context():` around this call, where app is the one whose clients are meant"
    )
    with two.app_context():
        assert Cursor.parse(CALLS[name](mux)).epoch == Cursor.parse(flask_ssemux.cursor()).epoch


@pytest.mark.parametrize("name", CALLS)
def test_no_application_at_all(name):
    assert refusal(ApplicationError, CALLS[name], flask_ssemux.SSEMux()) == (
        "this SSEMux has no application: call its init_app(app) first; in a process without Flask use "
        "flask_ssemux.Publisher(url)"
    )


def test_applications_of_earlier_tests_do_not_count(bare_app, make_app, mux):
    """A test suite makes an application for each test, with one SSEMux for all of them."""
    closed = bare_app("closed", SSEMUX_BROKER="memory:")
    mux.init_app(closed)
    testing.close(closed)
    forgotten = bare_app("forgotten", SSEMUX_BROKER="memory:")
    mux.init_app(forgotten)
    del forgotten
    app = make_app(mux)
    gc.disable()
    try:
        cursor = mux.publish("temperature", 1)
    finally:
        gc.enable()
    with app.app_context():
        assert flask_ssemux.cursor() == cursor


def test_a_current_application_counts_more_than_the_only_one(make_app, mux):
    make_app(mux, "house")
    other = make_app(flask_ssemux.SSEMux(), "garden")
    with other.app_context():
        assert mux.publish("temperature", 1) == flask_ssemux.cursor()


def test_a_current_application_without_streams_does_not_hide_the_only_one(make_app, mux):
    app = make_app(mux, "house")
    with flask.Flask("admin").app_context():
        cursor = mux.publish("temperature", 1)
    with app.app_context():
        assert flask_ssemux.cursor() == cursor


# -- arguments that do not exist -------------------------------------------------

FLASK_SSE = (
    "publish has no argument type=: the event's name is event=: publish(channel, data, event=...) is Flask-SSE's "
    "publish(data, type=..., channel=...), see docs/flask-sse.md"
)

ORDER = "its arguments are, in this order, channel, data, event, latest, on_error, session"


@pytest.fixture(params=["module", "SSEMux", "Publisher"])
def owner(request, make_app, mux, tmp_path):
    app = make_app(mux)
    if request.param == "Publisher":
        with Publisher("sqlite:///%s" % (tmp_path / "x.sqlite3")) as publisher:
            yield publisher
        return
    with app.app_context():
        yield {"module": flask_ssemux, "SSEMux": mux}[request.param]


def test_flask_sse_calls(owner):
    assert refusal(TypeError, owner.publish, {"message": "Hello!"}, type="greeting") == FLASK_SSE
    assert refusal(TypeError, owner.publish, {"message": "Hello!"}, type="greeting", channel="users.social") == (
        FLASK_SSE + "; publish got channel= twice: " + ORDER
    )
    assert refusal(TypeError, owner.publish, {"active_users": 100}, channel="analytics") == (
        "publish got channel= twice: " + ORDER
    )


@pytest.mark.parametrize(
    "name, message",
    [
        ("id", "an event's id is its cursor, which publish returns; an id of your own belongs into the data"),
        ("retry", "SSEMUX_RETRY says how long clients wait before they reconnect, for all streams"),
        ("room", "Socket.IO's room is a channel: publish(channel, data)"),
        ("to", "Socket.IO's room is a channel: publish(channel, data)"),
        ("topic", "a topic is a channel: publish(channel, data)"),
        ("channels", "publish sends to one channel; publish_many([(channel, data), ...]) sends to several"),
        ("lastest", "did you mean latest=?"),
        ("evnt", "did you mean event=?"),
        ("namespace", "it takes channel, data, event, latest, on_error, session"),
    ],
)
def test_other_arguments(owner, name, message):
    assert refusal(TypeError, owner.publish, "temperature", 1, **{name: "x"}) == (
        "publish has no argument %s=: %s" % (name, message)
    )


def test_arguments_of_the_other_functions(owner):
    assert refusal(TypeError, owner.send_to_user, 7, 1, type="x").startswith("send_to_user has no argument type=: the")
    assert refusal(TypeError, owner.broadcast, 1, channel="news") == (
        "broadcast has no argument channel=: publish(channel, data) sends to a channel"
    )
    for name in ("publish_on_commit", "send_to_user_on_commit"):
        assert ("%s has no argument type=" % name) in refusal(TypeError, getattr(owner, name), None, "a", 1, type="x")
    assert "broadcast_on_commit has no" in refusal(TypeError, owner.broadcast_on_commit, None, 1, type="x")
    assert "publish_many has no argument latest=" in refusal(TypeError, owner.publish_many, [], latest=True)
    assert "publish_many_on_commit has no" in refusal(TypeError, owner.publish_many_on_commit, None, [], latest=True)


def test_right_arguments_by_name(owner):
    assert owner.publish(channel="temperature", data=1, event="reading", latest=True, on_error="raise")
    assert owner.publish("temperature", data=1)
    assert "missing" in refusal(TypeError, owner.publish, "temperature")
