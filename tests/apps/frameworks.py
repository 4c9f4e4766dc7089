"""The application of docs/frameworks.md, exactly as printed there, with the libraries and what its test asks for.

It is served in a folder that has the document's modules, templates and built pages. A page's query has its version of
htmx, and a cursor other than the current one.
"""

from __future__ import annotations

import os
import sys

from flask import current_app, jsonify, request, send_file

import flask_ssemux
from tests.apps.npm import send_datastar
from tests.harness.packages import NODE_MODULES

sys.path.insert(0, os.getcwd())

FILES = {
    "htmx.js": {"1": "htmx1/dist/htmx.js", "2": "htmx.org/dist/htmx.js"},
    "htmx-ext-sse.js": {"1": "htmx1/dist/ext/sse.js", "2": "htmx-ext-sse/dist/sse.js"},
    "htmx4.js": {"4": "htmx4/dist/htmx.js"},
}


def create_app():
    """Return the document's application. It has one per process, so its engine is that of the folder."""
    import live

    real, app = flask_ssemux.cursor, live.app
    live.flask_ssemux.cursor = lambda: request.args.get("cursor") or real()

    @app.route("/static/<name>")
    def library(name):
        if name == "datastar.js":
            return send_datastar()
        version = request.args.get("version") or request.referrer.partition("version=")[2][:1]
        return send_file(str(NODE_MODULES / FILES[name][version]))

    @app.route("/streams")
    def streams():
        hub = current_app.extensions["ssemux"].worker.running().hub
        return jsonify(streams=[list(stream.channels) for stream in hub.list_streams()])

    @app.route("/favicon.ico")
    def icon():
        return "", 204

    return app
