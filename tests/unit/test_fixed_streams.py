"""Fixed streams: their rules are asked, or everyone may read them because the application says so."""

from __future__ import annotations

import flask
import flask_login
import pytest

import flask_ssemux
from flask_ssemux.errors import ApplicationError, ConfigurationError
from tests.unit.test_extension import first, names, opened

UNRULED = (
    "the stream /pay is not served: no rule says who may read its channel 'payroll'; either add a rule, "
    "@mux.authorize('payroll'), or say that everyone may read it, add_stream('/pay', channels=['payroll'], public=True)"
)


@pytest.fixture
def mux():
    """X-User names the user. No user may read `payroll`; `mine:<who>` is for the user of this name."""
    made = flask_ssemux.SSEMux()
    made.identify(lambda: flask.request.headers.get("X-User"))
    made.authorize("payroll")(lambda user_id: False)
    made.authorize("mine:<who>")(lambda user_id, who: user_id == who)
    return made


def status(app, url, user=None):
    with opened(app, url, headers={"X-User": user} if user else {}) as (response, _):
        return response.status_code


def streams(app):
    return len(app.extensions["ssemux"].worker.running().hub)


# -- rules ---------------------------------------------------------------------


@pytest.mark.parametrize("public", [False, True])
def test_the_rule_of_a_channel_without_variables_is_asked(make_app, mux, public):
    mux.add_stream("/pay", ["payroll"], public=public)
    app = make_app(mux)
    assert (status(app, "/pay"), status(app, "/pay", "ann")) == (401, 403)
    assert (status(app, "/events?channel=payroll"), status(app, "/events?channel=payroll", "ann")) == (401, 403)


def test_every_rule_is_asked_and_the_whole_stream_refused(make_app, mux):
    mux.add_stream("/both/<who>", ["mine:<who>", "open"], public=True)
    app = make_app(mux)
    assert (status(app, "/both/ann"), status(app, "/both/ann", "bob")) == (401, 403)
    assert status(app, "/both/ann", "ann") == 200


def test_a_wider_rule_is_a_rule(make_app, mux):
    mux.add_stream("/ann", ["mine:ann"])
    app = make_app(mux)
    assert (status(app, "/ann"), status(app, "/ann", "bob"), status(app, "/ann", "ann")) == (401, 403, 200)


def test_a_rule_may_be_registered_after_the_stream(make_app):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    mux.add_stream("/pay", ["payroll"])
    mux.authorize("payroll")(lambda user_id: True)
    assert names(first(app, "/pay")) == ["ssemux.hello"]


def test_a_ticket_narrows_these_streams_too(make_app, mux):
    mux.add_stream("/ann", ["mine:ann"])
    app = make_app(mux)
    app.secret_key = "for tests"
    with app.app_context():
        wide, narrow = (flask_ssemux.ticket("ann", channels=channels) for channels in (["mine:ann"], ["mine:other"]))
    assert (status(app, "/ann?ticket=" + narrow), status(app, "/ann?ticket=" + wide)) == (403, 200)


@pytest.mark.parametrize("url, path", [("/any/<kind>/<id>", "/any/mine/ann"), ("/one/<id>", "/one/ann")])
def test_a_channel_that_the_url_fills_in_is_public_only_if_no_rule_matches(make_app, mux, url, path):
    mux.add_stream(url, ["<kind>:<id>" if "kind" in url else "mine:<id>"], public=True)
    app = make_app(mux)
    assert (status(app, path), status(app, path, "ann")) == (401, 200)


def test_channels_with_colons(make_app):
    """URLs and URNs are channels like any other, by rule, snapshot and URL."""
    mux = flask_ssemux.SSEMux()
    mux.authorize("<path:page>:edits")(lambda user_id, page: page == "https://shop.test:8000/a?b=1")
    mux.authorize("urn:<path:name>")(lambda user_id, name: name == "isbn:0451450523")
    mux.snapshot("urn:<path:name>")(lambda name: [("name", name)])
    mux.add_stream("/names/<path:name>/stream", ["urn:<path:name>"])
    app = make_app(mux)
    assert status(app, "/events?channel=https%3A%2F%2Fshop.test%3A8000%2Fa%3Fb%3D1%3Aedits") == 200
    assert status(app, "/events?channel=https%3A%2F%2Fshop.test%3A8000%2Fa%3Fb%3D2%3Aedits") == 401
    (hello, snapshot) = first(app, "/names/isbn:0451450523/stream").events
    assert (hello.event, snapshot.event, snapshot.data) == ("ssemux.hello", "name", "isbn:0451450523")
    assert status(app, "/names/isbn:1/stream") == 401
    with app.app_context():
        assert flask_ssemux.publish("https://shop.test:8000/a?b=1:edits", "x")


# -- without a rule ------------------------------------------------------------


@pytest.fixture
def unruled():
    made = flask_ssemux.SSEMux()
    made.add_stream("/pay", ["payroll"])
    return made


def test_a_stream_without_a_rule_is_denied_and_the_log_says_why_once(make_app, unruled, caplog):
    app = make_app(unruled)
    app.add_url_rule("/page", "page", lambda: "page")
    assert app.test_client().get("/page").data == b"page"
    assert caplog.messages == [UNRULED]
    for method in ("get", "head"):
        answer = getattr(app.test_client(), method)("/pay")
        assert answer.status_code == 500 and b"payroll" not in answer.data
    assert caplog.messages.count(UNRULED) == 1 and streams(app) == 0
    assert status(app, "/events") == 200


@pytest.mark.parametrize("flag", ["DEBUG", "TESTING"])
@pytest.mark.parametrize("url", ["/nowhere", "/pay", "/events"])
def test_developers_and_tests_get_an_error_at_the_first_request_of_any_url(make_app, unruled, flag, url):
    app = make_app(unruled, **{flag: True})
    for _ in range(2):
        with pytest.raises(ConfigurationError) as error:
            app.test_client().get(url, buffered=False)
        assert str(error.value) == UNRULED


def test_a_rule_that_is_added_later_opens_the_stream(make_app, unruled):
    app = make_app(unruled)
    assert status(app, "/pay") == 500
    unruled.authorize("payroll")(lambda user_id: True)
    assert names(first(app, "/pay")) == ["ssemux.hello"]


def test_the_command_line_reports_it(make_app, unruled):
    app = make_app(unruled, SSEMUX_BROKER="sqlite:")
    result = app.test_cli_runner().invoke(args=["ssemux", "status"])
    assert result.exit_code == 0 and "Warning: " + UNRULED in result.output
    result = app.test_cli_runner().invoke(args=["ssemux", "doctor"])
    assert result.exit_code == 1 and "the stream /pay is not served" in result.output


def test_a_channel_that_the_url_fills_in_and_that_no_rule_can_match(make_app, caplog):
    mux = flask_ssemux.SSEMux()
    mux.add_stream("/jobs/<id>", ["jobs:<id>"])
    mux.authorize("tasks:<id>")(lambda user_id, id: True)
    app = make_app(mux)
    assert status(app, "/jobs/1") == 403
    (line,) = caplog.messages
    assert line.startswith("the stream /jobs/<id> answers 403 to everyone: no rule says who may read its channel")
    mux.authorize("jobs:<number>")(lambda user_id, number: True)
    assert app.extensions["ssemux"].find_warnings() == [] and status(app, "/jobs/1") == 200


# -- guards of views -----------------------------------------------------------


@pytest.fixture
def with_login():
    def prepare(app):
        app.secret_key = "for tests"
        manager = flask_login.LoginManager(app)

        @manager.request_loader
        def load(request):
            user = flask_login.UserMixin()
            user.id = request.headers.get("X-User")
            return user if user.id else None

        return app

    return prepare


def test_decorators_of_a_view(make_app, with_login):
    mux = flask_ssemux.SSEMux()
    seen = []

    def noted(view):
        def noting(*args, **values):
            seen.append(flask.request.path)
            return view(*args, **values)

        noting.__name__ = view.__name__
        return noting

    mux.add_stream("/news", ["news"], public=True, decorators=[flask_login.login_required, noted])
    app = with_login(make_app(mux))
    assert (status(app, "/news"), status(app, "/news", "ann")) == (401, 200)
    assert seen == ["/news", "/news"], "the last decorator runs first"
    with opened(app, "/news", headers={"X-User": "ann"}) as (response, _):
        assert response.headers["X-Accel-Buffering"] == "no"


def test_each_view_has_a_name_of_its_own_for_decorators():
    views = []
    mux = flask_ssemux.SSEMux()
    for url in ("/one", "/two"):
        mux.add_stream(url, ["news"], public=True, decorators=[lambda view: views.append(view) or view])
    assert [view.__name__ for view in views] == ["ssemux_one", "ssemux_two"]


def test_streams_of_two_blueprints_have_views_with_different_names(make_app):
    """Their endpoints are `one.news` and `other.news`; extensions that exempt a view know it by its own name."""
    mux, views = flask_ssemux.SSEMux(), []
    for blueprint in (flask.Blueprint("one", __name__), flask.Blueprint("other", __name__)):
        mux.add_stream("/news", ["news"], endpoint="news", blueprint=blueprint, decorators=[views.append])
    for endpoint in ("one.news", "one_news"):
        mux.add_stream("/news", ["news"], endpoint=endpoint, decorators=[views.append])
    assert [view.__name__ for view in views] == ["one_news", "other_news", "one_news_2", "one_news_3"]


def guarded():
    made = flask.Blueprint("api", __name__, url_prefix="/api/<tenant>")

    @made.before_request
    def guard():
        if flask.request.headers.get("X-User") != "ann":
            flask.abort(403)

    @made.after_request
    def mark(response):
        response.headers["X-Guarded"] = "yes"
        return response

    return made


@pytest.mark.parametrize("is_set_up_first", [False, True])
def test_the_guards_of_a_blueprint_hold(make_app, is_set_up_first):
    mux, api = flask_ssemux.SSEMux(), guarded()
    app = make_app(mux) if is_set_up_first else flask.Flask("later", instance_path="/nowhere")
    mux.add_stream("/news", ["news:<tenant>"], endpoint="news", public=True, blueprint=api)
    app.register_blueprint(api)
    if not is_set_up_first:
        app.config["SSEMUX_BROKER"] = "memory:"
        mux.init_app(app)
    assert app.extensions["ssemux"].find_errors() == []
    with app.test_request_context():
        assert flask.url_for("api.news", tenant="x") == "/api/x/news"
    assert status(app, "/api/x/news", "bob") == 403
    with opened(app, "/api/x/news", headers={"X-User": "ann"}) as (response, _):
        assert response.status_code == 200
        assert (response.headers["X-Guarded"], response.headers["X-Accel-Buffering"]) == ("yes", "no")
    flask_ssemux.testing.close(app)


def test_an_endpoint_of_a_blueprint_has_its_guards_too(make_app):
    mux, api = flask_ssemux.SSEMux(), flask.Blueprint("api", __name__)
    api.before_request(lambda: flask.abort(403))
    mux.add_stream("/news", ["news"], endpoint="api.news", public=True)
    app = make_app(mux)
    assert status(app, "/news") == 500, "the blueprint is not registered yet"
    assert "names a blueprint that is not registered" in app.extensions["ssemux"].find_errors()[0]


def test_an_endpoint_of_a_registered_blueprint(make_app, bare_app):
    mux, api = flask_ssemux.SSEMux(), flask.Blueprint("api", __name__)
    api.before_request(lambda: flask.abort(403))
    mux.add_stream("/news", ["news"], endpoint="api.news", public=True)
    app = make_app(mux)
    app.register_blueprint(api)
    assert (app.extensions["ssemux"].find_errors(), status(app, "/news")) == ([], 403)


def test_what_a_blueprint_cannot_have(make_app):
    mux, api = flask_ssemux.SSEMux(), flask.Blueprint("api", __name__)
    with pytest.raises(ApplicationError, match="an endpoint without a dot"):
        mux.add_stream("/news", ["news"], endpoint="a.b", blueprint=api)
    mux.add_stream("/list", ["list:<who>"], public=True, blueprint=api)
    app = make_app(mux)
    app.register_blueprint(api)
    assert app.extensions["ssemux"].find_errors() == [
        "the stream /list is not served: its URL has no variable <who>",
    ]
    with pytest.raises(ApplicationError, match="registered with an application already: call add_stream"):
        mux.add_stream("/news", ["news"], blueprint=api)
