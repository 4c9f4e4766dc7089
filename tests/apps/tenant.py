"""An application whose name, key and broker come from the environment; the `user` parameter names the user."""

from __future__ import annotations

import os

from flask import Flask, request

import flask_ssemux


def create_app() -> Flask:
    app = Flask(os.environ["NAME"], root_path=os.path.dirname(__file__), instance_path=os.environ["INSTANCE_PATH"])
    app.secret_key = os.environ.get("KEY")
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: request.args.get("user"))
    app.add_url_rule("/send", "send", lambda: send(request.args["user"], request.args["data"]))
    return app


def send(user, data):
    try:
        return flask_ssemux.send_to_user(user, data)
    except flask_ssemux.SSEMuxError as error:
        return "%s: %s" % (type(error).__name__, error), 500
