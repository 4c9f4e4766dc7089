"""The lab application, which also says what its worker keeps for open streams."""

from __future__ import annotations

import gc

import gevent
from flask import Flask, jsonify, request
from gunicorn.http.wsgi import WSGIErrorsWrapper

from tests.apps import lab


def create_app() -> Flask:
    app = lab.create_app()

    @app.route("/kept")
    def kept():
        gc.collect()
        found = gc.get_objects()
        return jsonify(
            tree=gevent.config.track_greenlet_tree,
            errors=sum(isinstance(one, WSGIErrorsWrapper) for one in found),
            variables=sum(type(one) is dict and "listener_name" in one and "environ" in one for one in found),
        )

    @app.after_request
    def note(response):
        if request.path == "/events" and "note" in request.args:
            request.environ["wsgi.errors"].write("a note of a stream\n")
        return response

    return app
