"""A view that streams a language model's answer as OpenAI's API does, in three forms: FORM is before, wrapped or run.

before, wrapped: a generator that yields the model's tokens, without and with ``streaming``. Nothing else differs.
run: the same generator, as a run. It goes on without its client, so the answer is paid for once.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from flask import Flask, Response, jsonify

import flask_ssemux

TOKENS = ["Once", " upon", "\n\na", " time"]


class Model:
    """Thinks before it begins, and for longer than a heartbeat. Each answer is paid for: a byte in a file."""

    def __init__(self, bill: Path) -> None:
        self.bill = bill
        self.bill.parent.mkdir(parents=True, exist_ok=True)
        self.bill.touch()

    def answer(self):
        with self.bill.open("a") as bill:
            bill.write("1")
        for number, token in enumerate(TOKENS):
            time.sleep(0.5 if number else 0.7)
            yield {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": token}}]}


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    model = Model(Path(app.instance_path) / "paid")
    {"before": add_before, "wrapped": add_wrapped, "run": add_run}[os.environ["FORM"]](app, model)
    app.add_url_rule("/paid", "paid", lambda: jsonify(paid=model.bill.stat().st_size))
    return app


def make_old_view(model: Model):
    return lambda: Response(generate(model), mimetype="text/event-stream")


def generate(model: Model):
    for chunk in model.answer():
        yield "data: %s\n\n" % json.dumps(chunk)
    yield "data: [DONE]\n\n"


def add_before(app: Flask, model: Model) -> None:
    app.add_url_rule("/v1/chat/completions", "complete", make_old_view(model), methods=["POST"])


def add_wrapped(app: Flask, model: Model) -> None:
    app.config["SSEMUX_URL"] = None
    flask_ssemux.init_app(app)
    view = flask_ssemux.streaming(make_old_view(model))
    app.add_url_rule("/v1/chat/completions", "complete", view, methods=["POST"])


def add_run(app: Flask, model: Model) -> None:
    flask_ssemux.init_app(app)

    @app.route("/v1/chat/completions", methods=["POST"])
    def complete():
        return flask_ssemux.start_run(generate(model)).response()
