"""Feeds that write down each of their steps, in the order in which all processes take them, to the file DIARY.

`jobs` takes a step every STEP seconds. `polled` asks a database that other programs write to, as old streams do, and
`/api/jobs/stream` is the same generator as an old view yields it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time

from flask import Flask, Response, jsonify

import flask_ssemux

STEP = float(os.environ.get("STEP", 0.25))


def note(what, **more):
    """Append a line: one write to a file that was opened to append is one step for all processes."""
    line = json.dumps({"what": what, "pid": os.getpid(), "at": time.monotonic(), **more}) + "\n"
    file = os.open(os.environ["DIARY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, line.encode("ascii"))
    finally:
        os.close(file)


def take_steps():
    fence, number = flask_ssemux.current_fence(), 0
    note("begin", fence=fence)
    try:
        while True:
            number += 1
            note("step", fence=fence, number=number)
            yield "step", [fence, number]
            time.sleep(STEP)
    finally:
        note("end", fence=fence)


def poll():
    """Yield what others write, and what a query finds first: a new client sees the present state."""
    seen = 0
    with sqlite3.connect(os.environ["DATABASE"]) as database:
        while True:
            note("query")
            for number, text in database.execute("SELECT rowid, text FROM jobs WHERE rowid > ?", (seen,)):
                seen = number
                yield "id: %d\nevent: job\ndata: %s\n\n" % (number, text)
            yield ": nothing else\n\n"
            time.sleep(STEP)


def create_app() -> Flask:
    mux = flask_ssemux.SSEMux()
    for channel in ("jobs", "polled"):
        mux.authorize(channel)(lambda user_id: True)
    mux.feed("jobs", linger=float(os.environ.get("LINGER", 5)))(take_steps)
    mux.feed("polled")(poll)
    mux.add_stream("/api/jobs/stream", feed=lambda: Response(poll(), mimetype="text/event-stream"), public=True)
    mux.allow_status(lambda: True)
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    mux.init_app(app)
    app.add_url_rule("/ping", "ping", lambda: jsonify(pid=os.getpid()))
    return app
