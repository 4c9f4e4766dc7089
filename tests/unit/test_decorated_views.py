"""Views under ``streaming``, in all the ways in which Flask registers views; those decorated too late are named."""

from __future__ import annotations

import functools
import sys
import types

import flask
import pytest
from flask.views import MethodView, View

import flask_ssemux
from flask_ssemux.http.decorated_views import find_undecorated
from tests.harness.parser import parse

WARNING = (
    "the view %r is served without @flask_ssemux.streaming: the decorator is above @app.route, where it has no effect; "
    "write @app.route(...) first, below it @flask_ssemux.streaming, and then def %s"
)


@pytest.fixture
def mux():
    return flask_ssemux.SSEMux()


@pytest.fixture
def app(make_app, mux):
    return make_app(mux)


def old():
    return flask.Response(iter(["data: 1\n\n"]), mimetype="text/event-stream")


def make_old():
    """Return another function that does the same."""

    def old_view():
        return old()

    return old_view


def is_wrapped(app, url="/old", **options):
    response = app.test_client().open(url, **options)
    assert [event.data for event in parse(response.data).events] == ["1"]
    return "X-Accel-Buffering" in response.headers


def plain_decorator(view):
    return lambda *args, **kwargs: view(*args, **kwargs)


def good_decorator(view):
    @functools.wraps(view)
    def decorated(*args, **kwargs):
        return view(*args, **kwargs)

    return decorated


# -- above @app.route --------------------------------------------------------


def test_a_decorator_above_the_route_is_logged_at_the_first_request(app, caplog):
    @flask_ssemux.streaming
    @app.route("/old")
    def late():
        return old()

    assert not is_wrapped(app)
    assert [record.getMessage() for record in caplog.records] == [WARNING % ("late", "late")]
    assert not is_wrapped(app)
    assert len(caplog.records) == 1


def test_another_decorator_between_the_two_changes_nothing(app):
    @flask_ssemux.streaming
    @good_decorator
    @app.route("/old")
    def late():
        return old()

    assert list(find_undecorated(app)) == [WARNING % ("late", "late")]


def test_the_commands_say_it_too(app):
    flask_ssemux.streaming(app.route("/old")(make_old()))
    result = app.test_cli_runner().invoke(args=["ssemux", "presence", "a"])
    assert "Warning: " + WARNING % ("old_view", "old_view") in result.output


def test_a_view_of_a_module_and_of_a_blueprint(app):
    """A module keeps the decorated view under the view's name, though nothing calls it."""
    module = types.ModuleType("old_module")
    module.flask, module.streaming, module.good_decorator = flask, flask_ssemux.streaming, good_decorator
    sys.modules["old_module"] = module
    try:
        exec(MODULE, vars(module))
        app.register_blueprint(module.bp)
        assert sorted(find_undecorated(app)) == [
            WARNING % ("old_bp.first", "first"),
            WARNING % ("old_bp.second", "second"),
        ]
    finally:
        del sys.modules["old_module"]


MODULE = """
bp = flask.Blueprint("old_bp", __name__)

@streaming
@bp.route("/first")
def first():
    return "1"

@good_decorator
@streaming
@bp.route("/second")
def second():
    return "2"

@bp.route("/third")
@streaming
def third():
    return "3"
"""


@pytest.mark.parametrize(
    "register",
    [
        lambda app: app.add_url_rule("/old", "b", flask_ssemux.streaming(app.route("/bare")(make_old()))),
        lambda app: app.add_url_rule(
            "/old", "b", good_decorator(flask_ssemux.streaming(app.route("/bare")(make_old())))
        ),
        lambda app: app.route("/old")(flask_ssemux.streaming(make_old())),
        lambda app: app.route("/old")(good_decorator(flask_ssemux.streaming(good_decorator(make_old())))),
        lambda app: app.route("/old")(plain_decorator(flask_ssemux.streaming(plain_decorator(make_old())))),
        lambda app: app.route("/old")(flask_ssemux.streaming(flask_ssemux.streaming(make_old()))),
        lambda app: app.route("/old")(flask_ssemux.streaming(functools.partial(make_old()))),
    ],
)
def test_no_false_alarm(app, register):
    """Also for a view that is served twice, once with the decorator and once without it."""
    register(app)
    assert list(find_undecorated(app)) == []
    assert is_wrapped(app)


def test_a_view_that_calls_the_decorated_one_is_no_false_alarm(app):
    bare = app.route("/bare")(make_old())
    kept = flask_ssemux.streaming(bare)
    app.add_url_rule("/old", "caller", lambda: kept())
    assert list(find_undecorated(app)) == []
    assert is_wrapped(app)
    assert list(find_undecorated(app)) == []


# -- other ways --------------------------------------------------------------


def test_a_view_of_a_blueprint_that_cannot_be_changed(app):
    theirs = flask.Blueprint("theirs", __name__, url_prefix="/theirs")
    theirs.add_url_rule("/old", "stream", make_old())
    app.register_blueprint(theirs)
    assert not is_wrapped(app, "/theirs/old")
    app.view_functions["theirs.stream"] = flask_ssemux.streaming(app.view_functions["theirs.stream"])
    assert is_wrapped(app, "/theirs/old")
    assert list(find_undecorated(app)) == []


class Streams(View):
    decorators = [flask_ssemux.streaming]

    def dispatch_request(self):
        return old()


class Methods(MethodView):
    decorators = [flask_ssemux.streaming]

    def get(self):
        return old()

    def post(self):
        return old()


class OneMethod(MethodView):
    @flask_ssemux.streaming
    def get(self):
        return old()

    def post(self):
        return old()


def test_views_of_classes(app):
    app.add_url_rule("/streams", view_func=Streams.as_view("streams"))
    app.add_url_rule("/methods", view_func=Methods.as_view("methods"))
    app.add_url_rule("/one", view_func=OneMethod.as_view("one"))
    app.add_url_rule("/outside", view_func=flask_ssemux.streaming(OneMethod.as_view("outside")))
    assert all(is_wrapped(app, url) for url in ("/streams", "/methods", "/one", "/outside"))
    assert is_wrapped(app, "/methods", method="POST") and not is_wrapped(app, "/one", method="POST")
    assert list(find_undecorated(app)) == []


@pytest.mark.parametrize("thing", [Streams, None, "view"])
def test_what_is_no_function_is_refused(thing):
    with pytest.raises(TypeError) as error:
        flask_ssemux.streaming(thing)
    assert str(error.value) == (
        "@flask_ssemux.streaming decorates a view function, not %r; for a class of views, write "
        "decorators = [flask_ssemux.streaming] into the class" % (thing,)
    )


# -- without a URL of its own ------------------------------------------------


def test_an_application_without_the_multiplexed_stream(make_app, mux):
    app = make_app(mux, SSEMUX_URL=None)
    mux.add_stream("/api/jobs/stream", channels=["jobs"], public=True)
    app.add_url_rule("/old", "old", flask_ssemux.streaming(old))
    client = app.test_client()
    assert [client.get(url).status_code for url in ("/events", "/events/ssemux.js", "/None", "/")] == [404] * 4
    assert is_wrapped(app)
    with flask_ssemux.testing.stream(app, "/api/jobs/stream") as s, app.app_context():
        flask_ssemux.publish("jobs", "new")
        assert s.next().data == "new"
    refused = pytest.raises(flask_ssemux.ApplicationError, flask_ssemux.testing.stream, app)
    assert str(refused.value) == "SSEMUX_URL is off, so name the stream's URL: stream(app, '/api/jobs/stream')"
    refused = pytest.raises(flask_ssemux.ConfigurationError, mux.allow_status, lambda: True)
    assert str(refused.value).startswith(
        "allow_status has a function, but there is no status page, since SSEMUX_URL is"
    )


def test_its_commands(make_app, tmp_path):
    app = make_app(SSEMUX_URL="off", SSEMUX_BROKER="sqlite:///%s/events.sqlite3" % tmp_path)
    runner = app.test_cli_runner()
    shown = runner.invoke(args=["ssemux", "status"]).output
    assert "SSEMUX_URL                   off" in shown.splitlines()
    asked = runner.invoke(args=["ssemux", "doctor", "http://127.0.0.1:1"])
    assert asked.exit_code == 2 and "'http://127.0.0.1:1' has no path, and SSEMUX_URL is off" in asked.output
