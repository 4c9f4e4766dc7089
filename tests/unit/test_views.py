"""Our views beside extensions that identify each view by its module and its name: Flask-WTF and Flask-Limiter."""

from __future__ import annotations

import functools

import flask
import flask_limiter.util
import flask_wtf
import pytest

import flask_ssemux
from flask_ssemux import testing

PATHS = [
    "/events", "/events/ssemux.js", "/events/ssemux-poll.js", "/events/status", "/events/status.js",
    "/events/status.json", "/news", "/api/news", "/events/ssemux-htmx.js", "/events/ssemux-datastar.js",
]  # fmt: skip


@pytest.fixture
def app(bare_app):
    """An application with a view of each kind, set up in the middle of its other extensions' set-up."""
    made = bare_app(SSEMUX_BROKER="memory:", SECRET_KEY="for tests", RATELIMIT_STORAGE_URI="memory://")
    flask_wtf.CSRFProtect(made)
    mux = flask_ssemux.init_app(made)
    mux.allow_status(lambda: True)
    mux.add_stream("/news", ["news"], public=True)
    api = flask.Blueprint("api", __name__, url_prefix="/api")
    mux.add_stream("/news", ["news"], endpoint="ssemux_news", public=True, blueprint=api)
    made.register_blueprint(api)
    yield made
    testing.close(made)


def limit(app, number):
    """Allow so many requests for each view."""
    made = flask_limiter.Limiter(
        key_func=flask_limiter.util.get_remote_address, default_limits=["%d per hour" % number]
    )
    made.init_app(app)
    return made


def statuses(app, path, number):
    return [app.test_client().head(path).status_code for _ in range(number)]


@pytest.mark.parametrize("path", PATHS)
def test_each_of_our_views_answers_beside_them(app, path):
    limit(app, 1)
    assert statuses(app, path, 2) == [200, 429]


@pytest.mark.parametrize("exempted", ["ssemux.events", "ssemux.client", "ssemux_news", "api.ssemux_news"])
def test_to_exempt_one_view_exempts_no_other(app, exempted):
    limit(app, 1).exempt(app.view_functions[exempted])
    with app.test_request_context():
        url = flask.url_for(exempted)
    answers = {path: statuses(app, path, 2) for path in PATHS}
    assert [path for path, found in answers.items() if found == [200, 200]] == [url]


def test_a_stream_takes_limits_as_a_decorator(app, make_app):
    limiter = flask_limiter.Limiter(key_func=flask_limiter.util.get_remote_address)
    mux = flask_ssemux.SSEMux()
    for url in ("/a", "/b"):
        mux.add_stream(url, ["news"], public=True, decorators=[limiter.limit("1 per hour")])
    made = make_app(mux, RATELIMIT_STORAGE_URI="memory://")
    limiter.init_app(made)
    assert (statuses(made, "/a", 2), statuses(made, "/b", 2)) == ([200, 429], [200, 429])


def test_wrapped_views_without_names_get_some(app):
    """A ``functools.partial`` has no name, and two of them would be one view for these extensions, and for Flask."""

    def stream(number):
        return iter(["data: %d\n\n" % number])

    for number in (1, 2):
        app.add_url_rule("/partial/%d" % number, view_func=flask_ssemux.streaming(functools.partial(stream, number)))
    endpoints = [rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/partial")]
    limit(app, 1).exempt(app.view_functions[endpoints[0]])
    with app.test_request_context():
        urls = [flask.url_for(endpoint) for endpoint in endpoints]
    assert [statuses(app, url, 2) for url in urls] == [[200, 200], [200, 429]]
