"""The advanced usage of Flask-SSE's documentation (flask-sse.readthedocs.io, MIT License): channels, access control.

The documentation takes ``g.user`` for granted; here a header names the user.
"""

import os

from flask import Flask, abort, g, request, url_for
from flask_sse import sse

app = Flask(__name__)
app.config["SSE_REDIS_URL"] = os.environ.get("REDIS_URL")
app.config["REDIS_URL"] = "redis://nowhere.invalid"


class User:
    def __init__(self, name):
        self.name = name

    def is_admin(self):
        return self.name == "admin"


@app.before_request
def find_user():
    g.user = User(request.headers.get("X-User"))


@sse.before_request
def check_access():
    if request.args.get("channel") == "analytics" and not g.user.is_admin():
        abort(403)


app.register_blueprint(sse, url_prefix="/sse")


@app.route("/")
def index():
    return url_for("sse.stream", channel="users.social")


@app.route("/publish")
def publish():
    sse.publish({"user": "alice", "status": "Life is good!"}, channel="users.social")
    sse.publish({"active_users": 100}, channel="analytics")
    sse.publish("to all", type="notice")
    return "published"
