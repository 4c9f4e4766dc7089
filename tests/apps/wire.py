"""The plain application for clients of other packages: a stream that sends each client away once, and an old view.

The old view yields tokens as a language model's does: it thinks before the first one and before the last one.
"""

from __future__ import annotations

import time
from collections import Counter

from flask import Flask, Response, current_app, jsonify, request

import flask_ssemux
from flask_ssemux.http.responses import make_retry_later
from tests.apps import plain

#: Seconds for which the old view thinks: several heartbeats of the tests.
THINKS = 0.5

TOKENS = ['{"token": "a"}', '{"token": "b"}', "[DONE]"]


def create_app() -> Flask:
    app = plain.create_app()
    asked, begun = Counter(), Counter()

    @app.route("/away_first/<key>")
    def away_first(key):
        """Tell the client to come back, and give it the stream when it does."""
        asked[key] += 1
        if asked[key] == 1:
            return make_retry_later("a test", 1)
        return current_app.view_functions["ssemux.events"]()

    @app.route("/tokens/<key>", methods=["GET", "POST"])
    @flask_ssemux.streaming
    def tokens(key):
        begun[key] += 1
        end = {"LF": "\n", "CRLF": "\r\n"}[request.args["end"]]

        def generate():
            for token in TOKENS:
                if token != TOKENS[1]:
                    time.sleep(THINKS)
                yield "data: %s%s%s" % (token, end, end)

        return Response(generate(), mimetype="text/event-stream")

    @app.route("/begun")
    def list_begun():
        """How often the old view was requested, by key."""
        return jsonify(begun)

    return app
