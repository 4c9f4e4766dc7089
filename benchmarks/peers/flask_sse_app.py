"""Flask-SSE: a blueprint over Redis's publish and subscribe.

Its streams send nothing before their first event, not even headers, so ``/ready`` also returns the number of streams.
"""

from __future__ import annotations

import os
import threading

from flask import Flask, Response, jsonify, request
from flask_sse import sse

from benchmarks import event

app = Flask(__name__)
app.config["REDIS_URL"] = os.environ["BENCH_REDIS"]
app.register_blueprint(sse, url_prefix="/events")


@app.route("/ready")
def ready() -> Response:
    with app.app_context():
        ((_, streams),) = sse.redis.pubsub_numsub(event.CHANNEL)
    return jsonify(pid=os.getpid(), streams=streams)


@app.route("/publish")
def publish() -> Response:
    asked = int(request.args["events"]), float(request.args["rate"]), int(request.args["size"])
    threading.Thread(target=_publish, args=asked, daemon=True).start()
    return jsonify(pid=os.getpid())


def _publish(events: int, rate: float, size: int) -> None:
    with app.app_context():
        for data in event.yield_paced(events, rate, size):
            sse.publish(data, type=event.NAME, channel=event.CHANNEL)
