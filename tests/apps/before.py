"""The old kind of stream, as it was written by hand: a view that returns a generator.

It sends a heartbeat every second and its first event after FIRST_EVENT_AFTER seconds (5), and sets no header of its
own. Nothing of it arrives behind nginx with default settings; tests/browser/test_before.py shows what browsers make of
that.
"""

from __future__ import annotations

import json
import os
import time

from flask import Flask, Response

from tests.apps.page import page


def create_app() -> Flask:
    app = Flask(__name__)
    app.register_blueprint(page)
    first_event = float(os.environ.get("FIRST_EVENT_AFTER", "5"))

    @app.route("/events")
    def events():
        def generate():
            began = time.time()
            sent = 0
            while True:
                time.sleep(1)
                yield ": heartbeat\n\n"
                if time.time() - began >= first_event:
                    sent += 1
                    yield f"event: progress\ndata: {json.dumps({'done': sent})}\n\n"

        return Response(generate(), mimetype="text/event-stream")

    return app
