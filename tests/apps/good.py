"""A hand-written stream that does correctly what flask_ssemux does for everybody: the harness's own tests measure it.

It sends a heartbeat every BEAT seconds (0.1), says hello at once, and ends after `?beats=` heartbeats if that is given.
`POST /publish` sends its `data` to the streams of its own process only.
"""

from __future__ import annotations

import json
import os
import queue

from flask import Flask, Response, jsonify, request

from tests.apps.page import page

streams = set()


def create_app() -> Flask:
    app = Flask(__name__)
    app.register_blueprint(page)
    beat = float(os.environ.get("BEAT", "0.1"))

    @app.route("/events")
    def events():
        beats = request.args.get("beats", 10**9, type=int)
        mine = queue.Queue()
        streams.add(mine)

        def generate():
            yield ": open\nretry: 3000\n\n"
            yield f"id: 1\nevent: ssemux.hello\ndata: {json.dumps({'pid': os.getpid()})}\n\n"
            try:
                for _ in range(beats):
                    try:
                        yield f"channel: room:1\nevent: progress\ndata: {mine.get(timeout=beat)}\n\n"
                    except queue.Empty:
                        yield ": heartbeat\n\n"
            finally:
                streams.discard(mine)

        response = Response(generate(), headers={"X-Accel-Buffering": "no", "Cache-Control": "no-cache, no-transform"})
        response.headers["Content-Type"] = "text/event-stream"
        return response

    @app.route("/publish", methods=["POST"])
    def publish():
        for one in list(streams):
            one.put(json.dumps(request.get_json()["data"]))
        return jsonify(pid=os.getpid())

    return app
