"""An application with a fixed stream that no rule matches. With RULE=1 a rule is registered after the stream, and with
PAGE set a page at this URL."""

from __future__ import annotations

import os

from flask import Flask

import flask_ssemux


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    mux = flask_ssemux.SSEMux(app)
    mux.add_stream("/payroll", channels=["payroll"])
    app.add_url_rule("/page", "page", lambda: "page")
    if os.environ.get("RULE"):
        mux.authorize("payroll")(lambda user_id: True)
    if os.environ.get("PAGE"):
        app.add_url_rule(os.environ["PAGE"], "calendar", lambda **values: "page")
    return app
