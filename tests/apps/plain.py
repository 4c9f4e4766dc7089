"""flask_ssemux in a plain application, for the tests with real servers.

The X-User header, or the query parameter `user`, names the user. Everybody may read `room:<name>`; the user `root` may
read `secret:<name>`. Options come from the environment, as SSEMUX_*; INSTANCE_PATH moves the instance folder, so that
the default broker's file is where the test wants it.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request

import flask_ssemux
from tests.apps.page import page

mux = flask_ssemux.SSEMux()


@mux.identify
def who():
    return request.headers.get("X-User") or request.args.get("user")


@mux.authorize("room:<name>")
def may_enter(user_id, name):
    return True


@mux.authorize("secret:<name>")
def may_know(user_id, name):
    return user_id == "root"


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    app.register_blueprint(page)
    mux.init_app(app)

    @app.route("/ping")
    def ping():
        return jsonify(pid=os.getpid())

    @app.route("/publish", methods=["POST"])
    def publish():
        """Publish to a channel. JSON: channel, data, event."""
        wanted = request.get_json()
        return accepted(flask_ssemux.publish, wanted["channel"], wanted.get("data"), event=wanted.get("event"))

    @app.route("/send", methods=["POST"])
    def send():
        """Publish to a user. JSON: user, data, event."""
        wanted = request.get_json()
        return accepted(flask_ssemux.send_to_user, wanted["user"], wanted.get("data"), event=wanted.get("event"))

    @app.route("/broadcast", methods=["POST"])
    def broadcast():
        """Publish to everyone. JSON: data, event."""
        wanted = request.get_json()
        return accepted(flask_ssemux.broadcast, wanted.get("data"), event=wanted.get("event"))

    return app


def accepted(function, *args, **options):
    """Return the cursor and the worker that answered, or 400 with the error's name and text if the event was
    refused.
    """
    try:
        return jsonify(cursor=str(function(*args, **options)), pid=os.getpid())
    except Exception as error:
        return jsonify(error=type(error).__name__, message=str(error), pid=os.getpid()), 400
