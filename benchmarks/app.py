"""The application that is measured: it has one public channel, and publishes when a request asks for it.

``servers.py`` runs it under gunicorn, with ``SSEMUX_*`` options in the environment.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Iterator

from flask import Flask, Response, jsonify, request

import flask_ssemux
from flask_ssemux.brokers import EventHistory
from flask_ssemux.sse import encode

from . import event


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["BENCH_FOLDER"])
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: request.headers.get("X-User"))
    mux.authorize(event.CHANNEL)(lambda user_id: True)
    mux.authorize("many:<number>")(lambda user_id, number: True)

    @app.route("/ready")
    def ready() -> Response:
        return jsonify(pid=os.getpid())

    @app.route("/publish")
    def publish() -> Response:
        asked = *(int(request.args[name]) for name in ("events", "size", "users")), float(request.args["rate"])
        threading.Thread(target=_publish_events, args=(app, mux, *asked), daemon=True).start()
        return jsonify(pid=os.getpid())

    @app.route("/run")
    def run() -> Response:
        tokens = _yield_tokens(float(request.args["rate"]), int(request.args["count"]))
        if "bare" in request.args:
            threading.Thread(target=deque, args=(tokens, 0), daemon=True).start()
            return jsonify(url="")
        return jsonify(url=flask_ssemux.start_run(tokens).url)

    @app.route("/fill")
    def fill() -> Response:
        channels, events, size = (int(request.args[name]) for name in ("channels", "events", "size"))
        broker = app.extensions["ssemux"].worker.broker
        before = broker.history.get_newest_cursor()
        for number in range(channels * events):
            channel = "many:%d" % (number % channels)
            broker.history.append_event(channel, encode.make_body(channel, "x" * size))
            if number % 100 == 0:
                time.sleep(0)
        return jsonify(cursor=str(before))

    @app.route("/appends")
    def time_appends() -> Response:
        return Response(_time_appends(app.extensions["ssemux"].worker.broker.history), mimetype="text/plain")

    @app.after_request
    def name_worker(response: Response) -> Response:
        response.headers["X-Worker"] = str(os.getpid())
        return response

    return app


def _yield_tokens(rate: float, count: int) -> Iterator[dict[str, object]]:
    due = time.monotonic()
    for _ in range(count):
        yield {"token": " word", "at": time.time()}
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))


def _publish_events(app: Flask, mux: flask_ssemux.SSEMux, events: int, size: int, users: int, rate: float) -> None:
    with app.app_context():
        for number, data in enumerate(event.yield_paced(events, rate, size)):
            if users:
                mux.send_to_user(event.name_user(number % users), data, event.NAME)
            else:
                mux.publish(event.CHANNEL, data, event.NAME)


def _time_appends(history: EventHistory) -> Iterator[str]:
    """Append an event every few milliseconds, until the client leaves. Yield the milliseconds that each one took."""
    while True:
        began = time.monotonic()
        history.append_event("many:0", encode.make_body("many:0", event.make_data()))
        yield "%.3f\n" % ((time.monotonic() - began) * 1e3)
        time.sleep(event.APPEND_PAUSE)
