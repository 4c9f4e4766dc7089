"""The plain application with presence in its rooms; it keeps only the newest of the `bar` events.

In `hall:<name>`, readers are told who comes and goes, after GRACE seconds.

With FOREIGN set, its processes look like processes of another host, so that no process here can ask the system whether
they are alive.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request

import flask_ssemux
from flask_ssemux.brokers import names
from tests.apps import plain

if os.environ.get("FOREIGN"):
    names._describe_host = lambda: "elsewhere"


@plain.mux.authorize("hall:<name>")
def may_enter_hall(user_id, name):
    return True


def create_app() -> Flask:
    plain.mux.track_presence("room:<name>", "*")
    plain.mux.track_presence("hall:<name>", events=True, grace=float(os.environ.get("GRACE", 10)))
    app = plain.create_app()

    def here():
        return len(app.extensions["ssemux"].worker.running().hub)

    @app.route("/presence")
    def presence():
        found = flask_ssemux.presence(request.args["channel"])
        return jsonify(pid=os.getpid(), here=here(), visitors=found.pop(None, 0), users=found)

    @app.route("/bars", methods=["POST"])
    def bars():
        """Publish `count` bars of `size` bytes in a row, with an ordinary event from time to time."""
        count, size = int(request.args["count"]), int(request.args["size"])
        for number in range(count):
            flask_ssemux.publish("room:1", {"n": number, "pad": "x" * size}, event="bar", latest=True)
            if number % 1000 == 0:
                flask_ssemux.publish("room:1", number, event="ordinary")
        return jsonify(count=count)

    return app
