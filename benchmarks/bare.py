"""The bare view: what a Flask application without flask_ssemux does for a stream. ``opening.py`` measures it.

One view returns a generator that sends a first event and then waits. It finds no user, asks no rule, counts no stream,
notices no client that has left, and has neither a history nor heartbeats.
"""

from __future__ import annotations

import os
import threading
from typing import Iterator

from flask import Flask, Response, jsonify

#: Never set: the streams end with their server.
_ended = threading.Event()


def create_app() -> Flask:
    app = Flask(__name__)

    @app.route("/ready")
    def ready() -> Response:
        return jsonify(pid=os.getpid())

    @app.route("/events")
    def events() -> Response:
        return Response(_yield_events(), mimetype="text/event-stream")

    @app.after_request
    def name_worker(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def _yield_events() -> Iterator[bytes]:
    yield b"event: ssemux.hello\ndata: {}\n\n"
    _ended.wait()
