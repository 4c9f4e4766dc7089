"""An old view under ``streaming``, and an ``after_request`` function that wraps or replaces its answer.

The environment variable HOW says in which way.
"""

from __future__ import annotations

import os
import time
import zlib

from flask import Flask, Response
from werkzeug.wsgi import ClosingIterator

import flask_ssemux

app = Flask(__name__)
app.config.update(SSEMUX_BROKER="memory:", SSEMUX_HEARTBEAT=0.5, SSEMUX_CLIENT_TIMEOUT=10)
flask_ssemux.init_app(app)


@app.route("/old")
@flask_ssemux.streaming
def old():
    def jobs():
        yield "data: 1\n\n"
        time.sleep(2 if os.environ["HOW"] in ("gzip", "type") else 30)
        yield "data: 2\n\n"

    return Response(jobs(), mimetype="text/event-stream")


def compress(body):
    """Compress an event stream by hand, as some applications do."""
    compressor = zlib.compressobj(wbits=31)
    for item in body:
        yield compressor.compress(item) + compressor.flush(zlib.Z_SYNC_FLUSH)
    yield compressor.flush()


@app.after_request
def wrap(response):
    body, how = response.response, os.environ["HOW"]
    if how == "generator":
        response.response = (item for item in body)
    if how == "iterator":
        response.response = ClosingIterator(body, [lambda: None])
    if how == "gzip":
        response.response, response.headers["Content-Encoding"] = compress(body), "gzip"
    if how == "type":
        response.headers["Content-Type"] = "text/plain"
    if how == "response":
        response = app.response_class(body, headers=response.headers)
    return response
