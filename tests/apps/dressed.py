"""The lab application with what applications in production have around their views: Sentry, ProxyFix, CORS, Talisman,
Flask-Compress, and a session cookie on every answer.

``/reported`` returns what was sent to Sentry. COMPRESS_MIMETYPES can add types to those that Flask-Compress compresses
by default.
"""

from __future__ import annotations

import os

import sentry_sdk
from flask import Flask, jsonify, request, session
from flask_compress import Compress
from flask_cors import CORS
from flask_talisman import Talisman
from sentry_sdk.integrations.flask import FlaskIntegration
from sentry_sdk.transport import Transport
from werkzeug.middleware.proxy_fix import ProxyFix

import flask_ssemux
from tests.apps import lab

reported = []


class Recorder(Transport):
    """Keeps what Sentry would send, and sends nothing."""

    def capture_envelope(self, envelope):
        for item in envelope.items:
            found = item.payload.json or {}
            reported.append(
                {
                    "type": item.type,
                    "name": found.get("transaction"),
                    "status": found.get("contexts", {}).get("trace", {}).get("status"),
                    "errors": [error["type"] for error in found.get("exception", {}).get("values", [])],
                }
            )

    def flush(self, *_, **__):
        pass


def create_app() -> Flask:
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1", transport=Recorder, integrations=[FlaskIntegration()], traces_sample_rate=1.0
    )
    app = lab.create_app()
    app.config["COMPRESS_MIN_SIZE"] = 0
    if os.environ.get("COMPRESS_MIMETYPES"):
        app.config["COMPRESS_MIMETYPES"] = os.environ["COMPRESS_MIMETYPES"].split()
    Compress(app)
    CORS(app, origins=["https://shop.example"], supports_credentials=True)
    Talisman(app, force_https=True)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)

    @app.before_request
    def visit():
        session["visits"] = session.get("visits", 0) + 1

    @app.route("/reported")
    def what_was_reported():
        return jsonify(list(reported))

    @app.route("/say")
    def say():
        return jsonify(cursor=flask_ssemux.publish("room:1", request.args["text"]))

    @app.route("/boom")
    def boom():
        raise ZeroDivisionError

    return app
