"""An application under attack: rules that a test defines and changes, and every way to publish.

POLICY names a JSON file: `{"rules": [pattern, ...], "grants": [[rule's number, user, {variable: value}], ...]}`. The
rules are read once, at start, and the grants each time that a rule is asked. ASKED names a file that gets a JSON line
each time that a rule is asked: the query's `tag`, the rule's number, the user, the variables. The X-User header,
percent-encoded, names the user. Without POLICY everybody may read `room:<name>`, and nobody `closed:<name>`.
"""

from __future__ import annotations

import json
import os
import time
from urllib.parse import unquote

from flask import Flask, Response, jsonify, request

import flask_ssemux
from tests.apps.page import page
from tests.apps.plain import accepted

EVERYTHING = {"rules": ["room:<name>"], "grants": None}


def create_app() -> Flask:
    app = Flask(__name__, instance_path=os.environ.get("INSTANCE_PATH"))
    app.secret_key = "for tests"
    mux = flask_ssemux.SSEMux()

    @mux.identify
    def who():
        return unquote(request.headers.get("X-User", "")) or None

    for number, pattern in enumerate(policy()["rules"]):
        mux.authorize(pattern)(rule(number))

    @mux.authorize("closed:<name>")
    def closed(user_id, name):
        return False

    @mux.snapshot("shown:<name>")
    def shown(name):
        yield "shown", name

    @mux.allow_status
    def may_look():
        return False

    mux.add_stream("/fixed/<name>/stream", channels=["room:<name>"])
    mux.add_stream("/slashed/", channels=["room:1"], personal=True)
    mux.init_app(app)
    app.register_blueprint(page)
    app.add_url_rule("/broken", "broken", lambda: 1 // 0)
    app.after_request(fail_if_undone)
    app.add_url_rule("/publish", "publish", publish, methods=["POST"])
    app.add_url_rule("/ticket", "ticket", ticket, methods=["POST"])
    app.add_url_rule("/old", "old", flask_ssemux.streaming(old), methods=["GET", "POST"])
    app.add_url_rule("/ping", "ping", lambda: jsonify(pid=os.getpid()))
    app.add_url_rule("/cursor", "cursor", lambda: jsonify(cursor=str(flask_ssemux.cursor())))
    return app


def fail_if_undone(response):
    """Fail after the view: what the extension does after a request comes later, and here it does not come."""
    if request.path == "/undone":
        raise RuntimeError("an after_request function fails")
    return response


def policy():
    if "POLICY" not in os.environ:
        return EVERYTHING
    with open(os.environ["POLICY"]) as file:
        return json.load(file)


def rule(number):
    def may_read(user_id, **values):
        if "ASKED" in os.environ:
            note([request.args.get("tag"), number, user_id, values])
        grants = policy()["grants"]
        return grants is None or [number, user_id, values] in grants

    return may_read


def note(entry):
    """Append a line with one write, because several workers append to the file."""
    file = os.open(os.environ["ASKED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(file)


def publish():
    """Publish a JSON list of [channel, data, event]: `user:…` through its user, `*` to everyone. Return each one's
    result.
    """
    return jsonify([accepted_one(*wanted) for wanted in request.get_json()])


def accepted_one(channel, data, event):
    answer = accepted(flask_ssemux.publish, channel, data, event=event)
    return (answer[0] if isinstance(answer, tuple) else answer).get_json()


def ticket():
    """Make a ticket from a JSON list of user, channels and seconds."""
    user, channels, seconds = request.get_json()
    return jsonify(flask_ssemux.ticket(user, channels=channels, expires=seconds))


def old():
    """Stream what the body lists: texts, and objects `{"bytes": [...]}`, `{"other": ...}` and `{"sleep": ...}`."""
    items = request.get_json()

    def generate():
        for item in items:
            if isinstance(item, str):
                yield item
            elif "sleep" in item:
                time.sleep(item["sleep"])
            else:
                yield bytes(item["bytes"]) if "bytes" in item else item["other"]

    return Response(generate(), mimetype="text/event-stream")
