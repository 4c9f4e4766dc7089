"""Old views whose bodies are no event streams, or only claim to be: each below ``streaming``, and bare below ``/bare``.

A generator writes a line to the log when its ``finally`` runs.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import time

from flask import Flask, Response, jsonify, request, send_file

import flask_ssemux

ROWS = ["id,name\n", "1,ada\n", "2,grace\n"]


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    app.config.update(SSEMUX_URL=None, SSEMUX_HEARTBEAT=0.3, SSEMUX_CLIENT_TIMEOUT=10)
    flask_ssemux.init_app(app)
    worker = app.extensions["ssemux"].worker
    for view in (
        ndjson,
        csv,
        html,
        tokens,
        events,
        steady,
        binary,
        partial,
        file,
        gzipped,
        empty,
        fails,
        late,
        large,
        endless,
    ):
        methods = ["GET", "POST"]
        app.add_url_rule("/bare/" + view.__name__, "bare_" + view.__name__, view, methods=methods)
        app.add_url_rule("/" + view.__name__, view.__name__, flask_ssemux.streaming(view), methods=methods)

    @app.route("/figures")
    def figures():
        return jsonify(wrapped=len(worker.running().streams.list_wrapped()))

    return app


def slowly(items, name=""):
    """Yield the items with silences between them that are longer than a heartbeat, or as long as ``pause`` says."""
    pause = float(request.args.get("pause", 0.5))

    def generate():
        try:
            for number, item in enumerate(items):
                if number:
                    time.sleep(pause)
                yield item
        finally:
            print(name, "finally", file=sys.stderr, flush=True)

    return generate()


def ndjson():
    return Response(slowly(['{"n": 1}\n', '{"n": 2}\n']), content_type="application/x-ndjson; charset=utf-8")


def csv():
    headers = {"Content-Disposition": "attachment; filename=users.csv", "Cache-Control": "private, max-age=60"}
    return slowly(ROWS), {"Content-Type": "text/csv", **headers}


def html():
    """A type that nobody chose, and events: EventSource refuses it."""
    return Response(slowly(["data: 1\n\n", "data: 2\n\n"]))


def tokens():
    """Raw text that claims to be an event stream."""
    return Response(slowly(["Once", " upon\n\n", "a time"], "tokens"), mimetype="text/event-stream")


def events():
    """An event stream whose type is written in an unusual way."""
    return Response(slowly(["da", "ta: 1\n\n", "data: 2\n\n"]), content_type="Text/Event-Stream; Charset=UTF-8")


def steady():
    return Response(slowly(["data: 1\n\n", "data: 2\n\n"]), mimetype="text/event-stream")


def binary():
    return Response(slowly([b"\0\xff", b"\n\n"]), mimetype="application/octet-stream", headers={"Content-Length": "4"})


def partial():
    headers = {"Content-Range": "bytes 0-3/9", "Content-Length": "4"}
    return Response(slowly([b"ab", b"cd"]), status=206, mimetype="text/plain", headers=headers, direct_passthrough=True)


def file():
    return send_file(io.BytesIO(b"".join(map(str.encode, ROWS))), mimetype="text/csv")


def gzipped():
    data = gzip.compress(b"data: 1\n\ndata: 2\n\n")
    pieces = slowly([data[:10], data[10:]])
    return Response(pieces, mimetype="text/event-stream", headers={"Content-Encoding": "gzip"})


def empty():
    return Response(iter(()), mimetype=request.args.get("type", "text/csv"))


def fails():
    """Fail before the first row, or with ``after`` after it."""

    def rows():
        if after:
            yield "first row\n"
            time.sleep(0.1)
        raise ZeroDivisionError("no more rows")

    after = "after" in request.args
    return Response(rows(), mimetype=request.args.get("type", "text/csv"))


def late():
    """Say nothing for more than two heartbeats."""

    def rows():
        time.sleep(0.7)
        yield "data: 1\n\n"

    return Response(rows(), mimetype="text/event-stream")


def large():
    """One row of 3 MB."""
    return Response(iter(["x" * 3_000_000]), mimetype="text/plain")


def endless():
    def rows():
        number = 0
        try:
            while True:
                number += 1
                yield '{"n": %d, "pad": "%s"}\n' % (number, pad)
                time.sleep(every)
        finally:
            print("endless: made %d" % number, file=sys.stderr, flush=True)

    every, pad = float(request.args.get("every", 0.05)), "x" * int(request.args.get("size", 0))
    limit = request.args.get("limit", type=int)
    body = rows() if limit is None else (row for _, row in zip(range(limit), rows()))
    return Response(body, mimetype="application/x-ndjson")
