"""The application behind proxies: the lab, the old stream below ``/before``, and a stream that sends nothing.

``/silent`` has the headers that keep proxies from buffering it, and no heartbeat, so that a proxy's time-out ends it.
"""

from __future__ import annotations

import time

from flask import Flask, Response, jsonify
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_ssemux.http.responses import CONTENT_TYPE, HEADERS
from tests.apps import before, lab


def create_app() -> Flask:
    app = lab.create_app()
    worker = app.extensions["ssemux"].worker

    @app.route("/silent")
    def silent():
        def generate():
            yield b": the only words\n\n"
            time.sleep(60)

        return Response(generate(), content_type=CONTENT_TYPE, headers=HEADERS)

    @app.route("/readers")
    def readers():
        """Return how many streams of this worker have each channel."""
        return jsonify(
            {channel: len(streams) for channel, streams in worker.running().hub._subscriptions._channels.items()}
        )

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/before": before.create_app()})
    return app
