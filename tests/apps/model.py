"""A view that streams a language model's answer as OpenAI's API does, in three forms: FORM is before, wrapped or moved.

before, wrapped: a generator that yields the model's tokens, without and with ``streaming``. Nothing else differs.
moved: the POST starts the model once for each key of the page, and redirects to a stream of the answer's channel. A
client that comes back, by the stream's URL or by the same POST, resumes the answer, which is paid for once.
"""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

from flask import Flask, Response, jsonify, redirect, request

import flask_ssemux

TOKENS = ["Once", " upon", "\n\na", " time"]


class Model:
    """Thinks before it begins, and for longer than a heartbeat. Each answer is paid for."""

    def __init__(self) -> None:
        self.paid = 0

    def answer(self):
        self.paid += 1
        for number, token in enumerate(TOKENS):
            time.sleep(0.5 if number else 0.7)
            yield {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": token}}]}


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    model = Model()
    {"before": add_before, "wrapped": add_wrapped, "moved": add_moved}[os.environ["FORM"]](app, model)
    app.add_url_rule("/paid", "paid", lambda: jsonify(paid=model.paid))
    return app


def make_old_view(model: Model):
    def complete():
        def generate():
            for chunk in model.answer():
                yield "data: %s\n\n" % json.dumps(chunk)
            yield "data: [DONE]\n\n"

        return Response(generate(), mimetype="text/event-stream")

    return complete


def add_before(app: Flask, model: Model) -> None:
    app.add_url_rule("/v1/chat/completions", "complete", make_old_view(model), methods=["POST"])


def add_wrapped(app: Flask, model: Model) -> None:
    app.config["SSEMUX_URL"] = None
    flask_ssemux.init_app(app)
    view = flask_ssemux.streaming(make_old_view(model))
    app.add_url_rule("/v1/chat/completions", "complete", view, methods=["POST"])


def add_moved(app: Flask, model: Model) -> None:
    # Both clients report an empty message for the usual form of a heartbeat.
    app.config.update(SSEMUX_URL=None, SSEMUX_HEARTBEAT_FORM="line")
    mux = flask_ssemux.init_app(app)
    answers: dict[str, dict[str, Any]] = {}
    mux.identify(lambda: request.headers.get("X-User"))
    mux.add_stream("/answers/<key>", channels=["answers:<key>"])

    @mux.authorize("answers:<key>")
    def may_read(user_id, key):
        return key in answers and answers[key]["owner"] == user_id

    @app.route("/v1/chat/completions", methods=["POST"])
    def complete():
        key = request.headers["X-Answer"]
        if key not in answers:
            answers[key] = {"owner": request.headers["X-User"], "begin": flask_ssemux.cursor()}
            threading.Thread(target=run, args=(key,)).start()
        return redirect("/answers/%s?last_event_id=%s" % (key, answers[key]["begin"]), 303)

    def run(key: str) -> None:
        channel = "answers:" + key
        with app.app_context():
            for number, chunk in enumerate(model.answer()):
                flask_ssemux.publish(channel, json.dumps(chunk))
                if number == 1 and key.startswith("cut"):
                    flask_ssemux.disconnect(channel=channel)  # as a deploy or a lost connection would
            flask_ssemux.publish(channel, "[DONE]")
            flask_ssemux.disconnect(channel=channel)  # older versions of openai's package wait for the end
