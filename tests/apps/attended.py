"""The plain application, which counts who is in its rooms and keeps of `bar` events the newest.

With FOREIGN set its processes look like those of another host: nobody here can ask the system whether they live.
"""

from __future__ import annotations

import os

from flask import Flask, jsonify, request

import flask_ssemux
from flask_ssemux.brokers import names
from tests.apps import plain

if os.environ.get("FOREIGN"):
    names._describe_host = lambda: "elsewhere"


def create_app() -> Flask:
    plain.mux.track_presence("room:<name>", "*")
    app = plain.create_app()

    def here():
        return len(app.extensions["ssemux"].worker.running().hub)

    @app.route("/presence")
    def presence():
        found = flask_ssemux.presence(request.args["channel"])
        return jsonify(pid=os.getpid(), here=here(), visitors=found.pop(None, 0), users=found)

    @app.route("/bars", methods=["POST"])
    def bars():
        """Publish `count` bars of `size` bytes in a row, and now and then an ordinary event."""
        count, size = int(request.args["count"]), int(request.args["size"])
        for number in range(count):
            flask_ssemux.publish("room:1", {"n": number, "pad": "x" * size}, event="bar", latest=True)
            if number % 1000 == 0:
                flask_ssemux.publish("room:1", number, event="ordinary")
        return jsonify(count=count)

    return app
