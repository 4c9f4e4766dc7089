"""The page /demo: the stream of jobs before and after, side by side, as its bytes arrive.

What the page needs of the server, and nothing of what it shows: static/demo/ reads the very streams that
clients read. Where a proxy stands before this server (__main__.py starts one), it reads them through that too, at
another port: the browser has to be told that it may.
"""

from __future__ import annotations

from flask import Blueprint, current_app, make_response, render_template, request

from . import failures

bp = Blueprint("demo", __name__)

STREAMS = ("/api/jobs/stream-before", "/api/jobs/stream")
CLIENTS = ("jobsApi.js", "jobsMux.js")


def init_app(app):
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
            sources=[(name, _source(name)) for name in CLIENTS],
        )
    )
    if proxy_port:
        policy = f"{failures.POLICY}; connect-src 'self' http://*:{proxy_port}"
        response.headers["Content-Security-Policy"] = policy
    return response


def share_streams(response):
    """Let pages of another port read the streams: what they say is public, and no cookie goes with them."""
    if request.path in STREAMS:
        response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _source(name):
    with current_app.open_resource(f"static/{name}") as file:
        return file.read().decode("utf-8")
