"""The page /demo: the stream of jobs before and after the migration, side by side, as its bytes arrive.

It also shows how often these streams ask the database (queries.py), and follows the check of an upload, which is a run.

This file serves the page; static/demo/ reads the same streams as other clients. If there is a proxy before this server
(__main__.py starts one), the page also reads the streams through the proxy. The proxy has another port, so the headers
must allow the browser to do that.
"""

from __future__ import annotations

from flask import Blueprint, current_app, make_response, render_template, request

from . import failures, queries

bp = Blueprint("demo", __name__)

CLIENTS = ("jobsApi.js", "jobsMux.js")


def init_app(app):
    """Register the page.

    :raises ValueError: SSEMUX_URL is not /events, from which this application's pages load their client.
    """
    if "/events" not in [rule.rule for rule in app.url_map.iter_rules() if rule.endpoint == "ssemux.events"]:
        raise ValueError(
            "the pages of legacy_app, /demo among them, load /events/ssemux.js and read /events: remove SSEMUX_URL"
        )
    app.register_blueprint(bp)
    if app.config["LEGACY_APP_PROXY_PORT"]:
        app.after_request(share_streams)


@bp.route("/demo")
def page():
    proxy_port = current_app.config["LEGACY_APP_PROXY_PORT"]
    response = make_response(
        render_template(
            "demo.html",
            port=request.environ["SERVER_PORT"],
            proxy_port=proxy_port,
            sources=[(name, _read_source(name)) for name in CLIENTS],
        )
    )
    if proxy_port:
        policy = f"{failures.POLICY}; connect-src 'self' http://*:{proxy_port}"
        response.headers["Content-Security-Policy"] = policy
    return response


def share_streams(response):
    """Let pages of another port read the streams: the streams are public, and no cookie is sent with them."""
    if request.path in queries.STREAMS:
        response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _read_source(name):
    with current_app.open_resource(f"static/{name}") as file:
        return file.read().decode("utf-8")
