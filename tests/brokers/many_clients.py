"""A gevent worker to which many logged-in clients connect at once: how long that takes, and which are refused.

``python -m tests.brokers.many_clients URL CLIENTS`` prints as JSON, for new clients and for those that return, seconds
and how many were not let in. Run by ``test_redis_far.py``.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402
from flask import Flask, request  # noqa: E402

import flask_ssemux  # noqa: E402


def application(url: str) -> Flask:
    app = Flask(__name__)
    app.config["SSEMUX_BROKER"] = url
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: request.headers.get("X-User"))
    mux.authorize("room:<room>")(lambda user_id, room: True)
    return app


def come(app: Flask, number: int, last: str | None):
    headers = {"X-User": str(number), **({"Last-Event-ID": last} if last else {})}
    answer = app.test_client().get("/events?channel=room:1", headers=headers, buffered=False)
    return answer, next(iter(answer.response))


def main(url: str, clients: int) -> None:
    app, told, last = application(url), [], None
    for _ in range(2):
        began = time.monotonic()
        jobs = [gevent.spawn(come, app, number, last) for number in range(clients)]
        gevent.joinall(jobs, raise_error=True)
        took = time.monotonic() - began
        told.append((took, sum(b"ssemux.hello" not in job.value[1] for job in jobs)))
        for job in jobs:
            job.value[0].close()
        with app.app_context():
            last = str(flask_ssemux.publish("room:1", "for who returns"))
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
