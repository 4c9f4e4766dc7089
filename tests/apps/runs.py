"""Runs of several kinds. The user is what the header ``X-User`` says."""

from __future__ import annotations

import contextvars
import os
import socket
import sys
import time

from flask import Flask, has_request_context, jsonify, request

import flask_ssemux

VARIABLE = contextvars.ContextVar("variable", default="unset")


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ["INSTANCE_PATH"])
    mux = flask_ssemux.SSEMux(app)
    mux.identify(lambda: request.headers.get("X-User") or None)

    @mux.authorize("run:<run_id>")
    def may_read(user_id, run_id):
        return user_id == "support"

    @app.route("/start/<kind>", methods=["POST"])
    def start(kind):
        """Start a run, and answer with its URL; with ``?stream``, with the run itself."""
        VARIABLE.set("of a request")
        resume = go_on if "resume" in request.args else None
        try:
            run = flask_ssemux.start_run(
                KINDS[kind](request.args.to_dict()), data=request.args.to_dict(), resume=resume
            )
        except flask_ssemux.TooManyRuns as error:
            return jsonify(error=str(error)), 429
        if "stream" in request.args:
            return run.response(comments="comments" in request.args)
        return jsonify(id=run.id, url=run.url, pid=os.getpid())

    @app.route("/cancel/<run_id>", methods=["POST"])
    def cancel(run_id):
        owner = request.headers.get("X-User")
        return jsonify(cancelled=flask_ssemux.cancel_run(run_id, owner=owner), pid=os.getpid())

    @app.route("/state/<run_id>")
    def state(run_id):
        return jsonify(state=flask_ssemux.run_state(run_id), pid=os.getpid())

    @app.route("/publish/<run_id>", methods=["POST"])
    def publish(run_id):
        try:
            flask_ssemux.publish("run:" + run_id, "forged")
        except flask_ssemux.InvalidChannel as error:
            return jsonify(error=str(error)), 400
        return jsonify(error=None)

    return app


def tokens(options, first=0):
    """Yield so many tokens at a rate."""
    for n in range(first, int(options["count"])):
        yield {"n": n, "pid": os.getpid()}
        time.sleep(1 / float(options["rate"]))


def go_on(run, last):
    """Go on with a run of tokens whose process is dead."""
    import json

    return tokens(run.data, 0 if last is None else json.loads(last.data)["n"] + 1)


def sleeping(options):
    try:
        yield "asleep"
        time.sleep(60)
    finally:
        print("sleeping: finally", file=sys.stderr, flush=True)


def listening(options):
    """Wait for a socket to which nobody writes."""
    own, other = socket.socketpair()
    try:
        yield "listening"
        own.recv(1)
    finally:
        print("listening: finally", file=sys.stderr, flush=True)
        own.close(), other.close()


def raising(options):
    yield 1
    raise ZeroDivisionError("secret")


def telling(options):
    yield 1
    raise flask_ssemux.RunFailed("no more credit")


def context(options):
    """Yield what is left of the request that started the run: in gevent's greenlets, its variables could be."""
    yield [has_request_context(), VARIABLE.get()]


def openai(options):
    """Yield the text of an old generator, in OpenAI's format."""
    yield 'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    yield "data: [DONE]\n\n"


KINDS = {
    "tokens": tokens, "sleeping": sleeping, "listening": listening, "raising": raising, "telling": telling,
    "context": context, "openai": openai,
}  # fmt: skip
