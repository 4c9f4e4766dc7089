"""An ``async def`` view below ``streaming``, and an ``async def`` snapshot."""

from __future__ import annotations

import asyncio
import os

from flask import Flask, Response

import flask_ssemux

app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
mux = flask_ssemux.init_app(app)


@mux.authorize("jobs")
def may_read(user_id):
    return True


@mux.snapshot("jobs")
async def load_state():
    await asyncio.sleep(0.1)
    yield "state", {"state": 1}


@app.route("/old")
@flask_ssemux.streaming
async def old():
    await asyncio.sleep(0.1)
    return Response(iter(["data: 1\n\n"]), mimetype="text/event-stream")


@app.route("/page")
def page():
    return "page"
