"""The streams that the documents' pages read, `news` and `jobs:<id>`, and those pages.

Options come from the environment, as SSEMUX_*; INSTANCE_PATH moves the instance folder.
"""

from __future__ import annotations

import os

from flask import Flask, Response, jsonify

import flask_ssemux
from tests.apps.page import page
from tests.harness.document import block

#: The HTML of each document's page, by its URL.
PAGES = {
    "/readme": block("../README.md", "html", '<script type="module">'),
    "/client": block("client.md", "html", "<script>\n  let last"),
}


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    app.register_blueprint(page)
    mux = flask_ssemux.init_app(app)
    mux.authorize("news")(lambda user_id: True)
    mux.authorize("jobs:<job_id>")(lambda user_id, job_id: True)
    for url, lines in PAGES.items():
        html = "<!doctype html>" + lines
        app.add_url_rule(url, url, lambda html=html: Response(html, content_type="text/html; charset=utf-8"))

    @app.route("/streams")
    def count_streams():
        return jsonify(len(app.extensions["ssemux"].worker.running().hub.list_streams()))

    return app
