"""The plain application below a prefix: mounted by a middleware, by gunicorn's SCRIPT_NAME, or by a proxy's header.

Its rules note below which prefix they were asked, for ``/urls``.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request, url_for
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

import flask_ssemux


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE_PATH"])
    app.secret_key = "for tests"
    mux = flask_ssemux.SSEMux(app)
    asked: list[str] = []

    @mux.authorize("room:<name>")
    def may_enter(user_id, name):
        asked.append(request.script_root)
        return True

    mux.allow_status(lambda: True)
    mux.add_stream("/rooms/<name>/stream", ["room:<name>"], endpoint="room")

    @app.route("/urls")
    def urls():
        endpoints = ["ssemux.events", "ssemux.client", "ssemux_status"]
        flask_ssemux.publish("room:1", "x")
        return jsonify(urls=[*map(url_for, endpoints), url_for("room", name=1)], asked=asked)

    return app


def dispatched():
    """Return two applications, of which the second one is below /shop."""
    return DispatcherMiddleware(Flask("other"), {"/shop": create_app()})


def forwarded():
    app = create_app()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)
    return app
