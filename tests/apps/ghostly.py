"""An application in which the steps after a view fail, as the request's ``fail`` parameter says. It runs without a
garbage collector, which would clean up after such a failure.
"""

from __future__ import annotations

import gc
import os
import time

from flask import Flask, Response, jsonify, request
from flask.sessions import SecureCookieSessionInterface

import flask_ssemux

#: Objects that are kept until the process ends, as a tracer or a list of recent errors keeps them.
KEPT = []


class Sessions(SecureCookieSessionInterface):
    def save_session(self, app, session, response):
        if request.args.get("fail") == "session":
            raise ConnectionError("the session store is away")
        return super().save_session(app, session, response)


class Middleware:
    """Fails before the body, or does not pass ``close`` on."""

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        body = self.application(environ, start_response)
        query = environ["QUERY_STRING"]
        if "fail=middleware" in query:
            KEPT.append(body)
            raise OSError("a middleware fails")
        if "fail=dropped" in query:
            return (item for item, _ in zip(Unclosed(body, False), range(2)))
        return Unclosed(body) if "fail=unclosed" in query else body


class Halt(BaseException):
    """Derives from BaseException, like gevent's ``Timeout``."""


class Unclosed:
    """An iterator without ``close`` that is kept or dropped: the server has nothing to close."""

    def __init__(self, body, is_kept=True):
        if is_kept:
            KEPT.append(self)
        self.items = iter(body)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)


def create_app():
    gc.disable()
    app = Flask(__name__, instance_path=os.environ["INSTANCE_PATH"])
    app.secret_key = "ghosts"
    app.session_interface = Sessions()
    app.config.update(SSEMUX_MAX_STREAMS_PER_USER=100)
    app.wsgi_app = Middleware(app.wsgi_app)
    mux = flask_ssemux.init_app(app)
    mux.track_presence("*")
    mux.identify(lambda: request.args.get("user"))

    @app.after_request
    def fail(response):
        how = request.args.get("fail")
        if how == "after_request":
            raise ValueError("an after_request function fails")
        if how == "replace":
            KEPT.append(response)
            return Response("replaced")
        return response

    @app.route("/old")
    @flask_ssemux.streaming
    @flask_ssemux.streaming
    def old():
        return Response(("data: %d\n\n" % number for number in range(3)), mimetype="text/event-stream")

    @app.route("/old/halt")
    @flask_ssemux.streaming
    def halt():
        def generate():
            yield "data: 1\n\n"
            raise Halt

        return Response(generate(), mimetype="text/event-stream")

    @app.route("/old/ticks")
    @flask_ssemux.streaming
    def ticks():
        def generate():
            while True:
                yield "data: tick\n\n"
                time.sleep(0.1)

        return Response(generate(), mimetype="text/event-stream")

    @app.route("/figures")
    def figures():
        worker = app.extensions["ssemux"].worker
        held = worker.broker.get_figures()["held"]
        return jsonify(streams=worker.count_streams(), held=held, presence=flask_ssemux.presence("*"))

    @app.route("/disconnect")
    def disconnect():
        return flask_ssemux.disconnect(request.args["user"])

    return app
