"""Runs as applications start them, for the tests of clients: by POST, read by whoever started them or at their URL.

Each run belongs to the user of the X-User header or of the query parameter `user`; without one, to nobody.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter

from flask import Flask, jsonify, request

import flask_ssemux
from tests.apps.page import page

TOKENS = ["Once", " upon", "\n\na", " time"]

started: Counter = Counter()
allowed: dict[str, int] = {}


def identify_user():
    return request.headers.get("X-User") or request.args.get("user")


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    app.register_blueprint(page)
    mux = flask_ssemux.SSEMux(app)
    mux.identify(identify_user)

    @app.route("/count", methods=["POST"])
    def start_counting():
        """Start a run as in `count_up`. The query: `key`, and `json` for an answer that only says where the run is."""
        asked = {**request.get_json(), "key": request.args.get("key", "")}
        run = flask_ssemux.start_run(count_up(**asked), owner=identify_user())
        return jsonify(run=run.id, url=run.url) if "json" in request.args else run.response()

    @app.route("/allow/<key>/<int:number>", methods=["POST"])
    def allow(key, number):
        """Let the runs of this key count up to this number, and no further."""
        allowed[key] = number
        return "", 204

    @app.route("/started")
    def show_started():
        return jsonify(started)

    @app.route("/cancel/<run_id>", methods=["POST"])
    def cancel(run_id):
        flask_ssemux.cancel_run(run_id)
        return "", 204

    @app.route("/v1/chat/completions", methods=["POST"])
    def complete():
        """Answer as OpenAI's API does."""
        return flask_ssemux.start_run(write_chunks(), owner=identify_user()).response()

    return app


def count_up(to: int, pause: float = 0.01, fails: int = 0, key: str = ""):
    """Count up to `to`, a number each `pause` seconds, as far as `/allow` lets this key; raise at `fails`."""
    started[key] += 1
    for number in range(1, to + 1):
        while number > allowed.get(key, to):
            time.sleep(0.01)
        if number == fails:
            raise ValueError("as the test asked")
        yield "n", number
        time.sleep(pause)


def write_chunks():
    started["chunks"] += 1
    for number, token in enumerate(TOKENS):
        time.sleep(0.5 if number else 0.7)
        yield json.dumps({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": token}}]})
    yield "[DONE]"
