"""Streams of applications that match hosts or subdomains, and the names by which other extensions know a view."""

from __future__ import annotations

import flask
import pytest

import flask_ssemux

PATHS = [
    "/events", "/events/ssemux.js", "/events/ssemux-poll.js", "/events/ssemux-htmx.js", "/events/ssemux-datastar.js",
    "/jobs/stream", "/events/status.js",
]  # fmt: skip


@pytest.fixture()
def serve_hosts(tmp_path):
    """serve_hosts(server_name=None, …): an application with streams, made with these options of Flask."""

    def make(server_name=None, **options):
        app = flask.Flask("shop", instance_path=str(tmp_path / "instance"), **options)
        app.config.update(SSEMUX_BROKER="memory:", SERVER_NAME=server_name)
        mux = flask_ssemux.init_app(app)
        mux.authorize("jobs")(lambda user_id: True)
        mux.allow_status(lambda: True)
        mux.add_stream("/jobs/stream", channels=["jobs"])
        return app

    return make


@pytest.mark.parametrize("host", ["www.shop.test", "shop.test:8000"])
@pytest.mark.parametrize("path", PATHS)
def test_an_application_that_matches_hosts_serves_streams_on_all_of_them(serve_hosts, host, path):
    app = serve_hosts(host_matching=True, static_host="www.shop.test")
    assert app.test_client().head(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["shop.test", "acme.shop.test"])
@pytest.mark.parametrize("path", PATHS)
def test_an_application_that_matches_subdomains_serves_streams_on_all_of_them(serve_hosts, host, path):
    app = serve_hosts("shop.test", subdomain_matching=True)
    assert app.test_client().head(path, headers={"Host": host}).status_code == 200


def test_url_for_builds_the_url_of_the_host_that_is_asked(serve_hosts):
    app = serve_hosts(host_matching=True, static_host="www.shop.test")
    with app.test_request_context("/", headers={"Host": "one.shop.test"}):
        assert flask.url_for("ssemux.events", _external=True) == "http://one.shop.test/events"
        assert flask.url_for("ssemux_jobs_stream", _external=True) == "http://one.shop.test/jobs/stream"
    app = serve_hosts("shop.test", subdomain_matching=True)
    with app.test_request_context("/", headers={"Host": "acme.shop.test"}):
        assert flask.url_for("ssemux.events", _external=True) == "http://acme.shop.test/events"


def test_each_view_has_a_name_of_its_own(serve_hosts):
    """Flask-WTF and Flask-Limiter identify a view by its module and its name."""
    app = serve_hosts()
    names = ["%s.%s" % (view.__module__, view.__name__) for view in app.view_functions.values()]
    assert len(set(names)) == len(names)
