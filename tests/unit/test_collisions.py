"""Two endpoints for one URL are refused, whichever came first; an endpoint that takes what is left over is not."""

from __future__ import annotations

import flask
import pytest
import werkzeug.routing
from werkzeug.routing import BaseConverter

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.errors import ConfigurationError
from flask_ssemux.http.collisions import find_collisions

CHANGE_OPTION = (
    "set SSEMUX_URL to a path that no other endpoint has, for example SSEMUX_URL = '/ssemux/events', or change the URL "
    "of the other endpoint"
)
CHANGE_STREAM = "remove one of the two, or call add_stream with another URL"

HAS_STATE_MACHINE = hasattr(werkzeug.routing, "matcher")  # since Werkzeug 2.2


def describe(url, served, hidden, advice=CHANGE_OPTION):
    return "GET %s is answered by the endpoint %r, and the endpoint %r for the same URL gets no request: %s" % (
        url, served, hidden, advice,
    )  # fmt: skip


@pytest.fixture
def set_up(tmp_path):
    """set_up(*steps, **options of Flask): an application on which these functions were called, in this order.

    ``None`` stands for the set-up of the extension, with a stream at ``/news/<name>/stream`` and a status page.
    """
    made = []

    def make(*steps, server_name=None, **options):
        app = flask.Flask("shop", instance_path=str(tmp_path / "instance"), **options)
        app.config.update(SSEMUX_BROKER="memory:", SERVER_NAME=server_name)
        made.append(app)
        for step in steps:
            if step is None:
                mux = flask_ssemux.SSEMux()
                mux.allow_status(lambda: True)
                mux.add_stream("/news/<name>/stream", ["news:<name>"], endpoint="news", public=True)
                mux.init_app(app)
            else:
                step(app)
        return app

    yield make
    for app in made:
        if "ssemux" in app.extensions:
            testing.close(app)


def page(url, endpoint="page", **options):
    """Return a step that gives the application a page."""
    return lambda app: app.add_url_rule(url, endpoint, lambda **values: "page", **options)


def refused(set_up, *steps, **options):
    """Return why these steps are refused: at once, or when all of them are done."""
    with pytest.raises(ConfigurationError) as error:
        app = set_up(*steps, **options)
        app.testing = True
        app.test_client().get("/nowhere")
    return str(error.value)


def serves_stream(app, url="/events", **headers):
    answer = app.test_client().head(url, headers=headers)
    return answer.status_code == 200 and answer.headers["Content-Type"] == "text/event-stream"


def list_found(caplog):
    """Return the lines of collisions; streams of tests before may end, and log that, meanwhile."""
    return [line for line in caplog.messages if line.startswith("GET ")]


def with_errors(app):
    state = app.extensions["ssemux"]
    return state.find_errors() + state.find_warnings()


# -- refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, ours",
    [
        ("/events", "ssemux.events"),
        ("/events/ssemux.js", "ssemux.client"),
        ("/events/status", "ssemux_status"),
        ("/events/status/stream", "ssemux_status_stream"),
    ],
)
def test_a_page_at_one_of_our_urls_is_refused(set_up, url, ours):
    assert refused(set_up, page(url), None) == describe(url, "page", ours)
    assert refused(set_up, None, page(url)) == describe(url, ours, "page")


@pytest.mark.parametrize("url", ["/news/<name>/stream", "/news/<string:title>/stream"])
def test_a_page_at_the_url_of_a_stream_is_refused(set_up, url):
    stream = "/news/<name>/stream"
    assert refused(set_up, page(url), None) == describe(stream, "page", "news", CHANGE_STREAM)
    assert refused(set_up, None, page(url)) == describe(url, "news", "page", CHANGE_STREAM)


def test_a_page_of_a_blueprint_is_refused(set_up):
    def register(app):
        calendar = flask.Blueprint("calendar", __name__, url_prefix="/events")
        calendar.add_url_rule("", "index", lambda: "page", methods=["GET", "POST"])
        app.register_blueprint(calendar)

    assert refused(set_up, register, None) == describe("/events", "calendar.index", "ssemux.events")
    assert refused(set_up, None, register) == describe("/events", "ssemux.events", "calendar.index")


@pytest.mark.parametrize("is_first", [True, False])
def test_a_stream_of_a_blueprint_is_refused(make_app, is_first):
    mux, api = flask_ssemux.SSEMux(), flask.Blueprint("api", __name__, url_prefix="/api/<tenant>")
    mux.add_stream("/news", ["news:<tenant>"], endpoint="news", public=True, blueprint=api)
    app = make_app(mux)
    steps = [lambda: app.register_blueprint(api), lambda: page("/api/<shop>/news")(app)]
    for step in steps[:: 1 if is_first else -1]:
        step()
    served, hidden, url = ("api.news", "page", "<shop>") if is_first else ("page", "api.news", "<tenant>")
    assert with_errors(app) == [describe("/api/%s/news" % url, served, hidden, CHANGE_STREAM)]


def test_two_of_our_own_endpoints_are_refused(make_app):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    with pytest.raises(ConfigurationError) as error:
        mux.add_stream("/events", ["news"], public=True)
    assert str(error.value) == describe("/events", "ssemux.events", "ssemux_events", CHANGE_STREAM)
    assert len(find_collisions(app, app.extensions["ssemux"])) == 1


def test_what_is_added_late_is_refused_at_once(make_app):
    mux = flask_ssemux.SSEMux()
    app = make_app(mux)
    app.add_url_rule("/events/status", "page", lambda: "page")
    with pytest.raises(ConfigurationError, match="'ssemux_status' for the same URL gets no request"):
        mux.allow_status(lambda: True)


def test_the_same_view_under_two_endpoints_is_no_collision(make_app):
    app = make_app()
    app.add_url_rule("/events", "alias", app.view_functions["ssemux.events"])
    assert with_errors(app) == []


def test_a_rule_whose_variables_cannot_be_tried_is_compared_by_its_text(set_up):
    converter = "any(a, b)"
    mux = flask_ssemux.SSEMux()
    mux.add_stream("/<%s:kind>/stream" % converter, ["x:<kind>"], endpoint="ours", public=True)
    steps = [mux.init_app, page("/<%s:name>/stream" % converter)]
    assert refused(set_up, *steps).startswith("GET /<any(a, b):name>/stream is answered by the endpoint 'ours'")


# -- when --------------------------------------------------------------------


def test_the_log_says_it_at_the_first_request_of_a_production_server(set_up, caplog):
    app = set_up(None, page("/events"))
    for _ in range(2):
        assert app.test_client().get("/nowhere").status_code == 404
    assert list_found(caplog) == [describe("/events", "ssemux.events", "page")]


def test_the_command_line_and_the_doctor_say_it(make_app):
    app = make_app(SSEMUX_BROKER="sqlite:")
    app.add_url_rule("/events", "page", lambda: "page")
    result = app.test_cli_runner().invoke(args=["ssemux", "status"])
    assert result.exit_code == 0 and "Warning: GET /events is answered by the endpoint" in result.output
    result = app.test_cli_runner().invoke(args=["ssemux", "doctor"])
    assert result.exit_code == 1 and "the endpoint 'page' for the same URL gets no request" in result.output


# -- no alarm ------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, options",
    [
        ("/<path:page>", {}),
        ("/<name>", {}),
        ("/", {}),
        ("/events", {"methods": ["POST", "PUT"]}),
        ("/events/<slug>", {}),
        ("/events/<path:page>", {}),
        ("/events.json", {}),
        ("/<any(events, news):kind>", {}),
        ("/news/<path:rest>", {}),
        ("/news/latest/stream", {}),
        ("/news/<name>/stream", {"methods": ["POST"]}),
        ("/events", {"subdomain": "calendar"}),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_page_that_takes_nothing_from_us_is_allowed(set_up, url, options, is_first):
    app = set_up(*[page(url, **options), None][:: 1 if is_first else -1])
    assert with_errors(app) == []
    for own in ("/events", "/events/status/stream", "/news/a/stream"):
        assert serves_stream(app, own)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_page_that_flask_would_redirect_to_is_a_warning(set_up, caplog, is_first):
    """A calendar's blueprint with the prefix /events has its page at /events/, and people type /events.

    Before Werkzeug 2.2, a page with a slash that came first takes the URL without a slash.
    """
    steps = [page("/events/"), None][:: 1 if is_first else -1]
    if is_first and not HAS_STATE_MACHINE:
        assert refused(set_up, *steps) == describe("/events", "page", "ssemux.events")
        return
    app = set_up(*steps)
    assert serves_stream(app) and app.test_client().get("/events/").data == b"page"
    assert list_found(caplog) == [
        "GET /events is answered by the endpoint 'ssemux.events', and the endpoint 'page' does not get all of its "
        "requests: " + CHANGE_OPTION
    ]


def test_static_files_at_the_root_are_allowed(set_up):
    app = set_up(None, static_url_path="")
    assert with_errors(app) == [] and serves_stream(app)


def test_a_page_that_takes_some_requests_of_a_stream_is_a_warning(set_up, caplog):
    app = set_up(page("/news/<int:number>/stream"), None)
    assert app.test_client().get("/news/1/stream").data == b"page"
    assert serves_stream(app, "/news/a/stream")
    assert list_found(caplog) == [
        "GET /news/1/stream is answered by the endpoint 'page', and the endpoint 'news' does not get all of its "
        "requests: " + CHANGE_STREAM
    ]


def test_no_converter_of_the_application_is_called(set_up):
    """It may ask a database, from a process that is not to have a connection yet."""

    class UserConverter(BaseConverter):
        regex = "[a-z0-9/]+"
        weight = 10

        def to_python(self, value):
            raise AssertionError("called")

        to_url = to_python

    def register(app):
        app.url_map.converters["user"] = UserConverter

    app = set_up(register, page("/<user:name>"), page("/news/<user:name>/stream", "other"), None)
    assert with_errors(app) == [describe("/news/1/stream", "other", "news", CHANGE_STREAM).replace(
        "for the same URL gets no request", "does not get all of its requests"
    )]  # fmt: skip


def test_a_converter_that_works_in_its_own_url_map_only_is_no_obstacle(set_up, caplog):
    class ShopConverter(BaseConverter):
        def __init__(self, url_map, *args):
            super().__init__(url_map, *args)
            self.shop = url_map.shop

    def register(app):
        app.url_map.converters["shop"] = ShopConverter
        app.url_map.shop = "mine"

    app = set_up(register, page("/<shop:name>"), None)
    assert serves_stream(app)
    assert "could not check whether two endpoints have the same URL: AttributeError" in caplog.text


# -- hosts -----------------------------------------------------------------------

HOSTS = {"host_matching": True, "static_host": "www.shop.test"}
SUBDOMAINS = {"subdomain_matching": True, "server_name": "shop.test"}


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize(
    "options, key, domain, host",
    [
        (HOSTS, "host", "www.shop.test", "www.shop.test"),
        (HOSTS, "host", "<name>", "www.shop.test"),
        (HOSTS, "host", "<name>.shop.test", "www.shop.test"),
        (HOSTS, "host", "<name>.<string(length=4):zone>.test", "www.shop.test"),
        (SUBDOMAINS, "subdomain", "www", "www.shop.test"),
        (SUBDOMAINS, "subdomain", "<name>", "www.shop.test"),
        (SUBDOMAINS, "subdomain", "<string(length=3):name>", "www.shop.test"),
    ],
)
@pytest.mark.parametrize("url", ["/<path:page>", "/<page>"])
def test_a_page_for_all_urls_of_one_host_takes_nothing_from_us(set_up, url, options, key, domain, host, is_first):
    steps = [page(url, **{key: domain}), None][:: 1 if is_first else -1]
    app = set_up(*steps, **options)
    assert with_errors(app) == []
    app.test_client().get("/", headers={"Host": host})
    for own in ("/events", "/events/ssemux.js", "/events/status/stream", "/news/a/stream"):
        answer = app.test_client().head(own, headers={"Host": host})
        assert answer.status_code == 200 and "X-Accel-Buffering" in answer.headers or own.endswith(".js")
    with app.test_request_context("/", headers={"Host": host}):
        assert flask.url_for("ssemux.events", _external=True) == "http://%s/events" % host


@pytest.mark.parametrize("is_first", [True, False])
def test_a_page_at_our_url_on_some_hosts_is_refused(set_up, is_first):
    steps = [page("/events", host="<tenant>.shop.test"), None][:: 1 if is_first else -1]
    assert refused(set_up, *steps, **HOSTS) == describe(
        "/events on the host '<tenant>.shop.test'", "page", "ssemux.events"
    )


@pytest.mark.parametrize("is_first", [True, False])
def test_a_page_at_our_url_on_one_host_is_refused(set_up, is_first):
    steps = [page("/events", host="calendar.shop.test"), None][:: 1 if is_first else -1]
    assert refused(set_up, *steps, **HOSTS) == describe(
        "/events on the host 'calendar.shop.test'", "page", "ssemux.events"
    )
    steps = [page("/events", subdomain="calendar"), None][:: 1 if is_first else -1]
    assert refused(set_up, *steps, **SUBDOMAINS) == describe(
        "/events on the subdomain 'calendar'", "page", "ssemux.events"
    )


def test_a_page_at_our_url_on_all_hosts_is_refused(set_up):
    assert refused(set_up, page("/events", host="<name>"), None, **HOSTS) == describe(
        "/events", "page", "ssemux.events"
    )
    assert refused(set_up, None, page("/events", host="<name>"), **HOSTS) == describe(
        "/events", "ssemux.events", "page"
    )
