"""The application that is measured: one open channel, and a publisher on request.

Options come as ``SSEMUX_*`` from the environment. Run by ``servers.py`` under gunicorn.
"""

from __future__ import annotations

import os
import threading
import time

from flask import Flask, Response, jsonify, request

import flask_ssemux

from . import event


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["BENCH_FOLDER"])
    mux = flask_ssemux.SSEMux(app)
    mux.authorize(event.CHANNEL)(lambda user_id: True)

    @app.route("/ready")
    def ready() -> Response:
        return jsonify(pid=os.getpid())

    @app.route("/publish")
    def publish() -> Response:
        events, rate = int(request.args["events"]), float(request.args["rate"])
        threading.Thread(target=_publish, args=(app, mux, events, rate), daemon=True).start()
        return jsonify(pid=os.getpid())

    @app.after_request
    def name_worker(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def _publish(app: Flask, mux: flask_ssemux.SSEMux, events: int, rate: float) -> None:
    start = time.monotonic()
    with app.app_context():
        for number in range(events):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            mux.publish(event.CHANNEL, event.data(), event.NAME)
