"""Streams whose answers a test chooses, for other people's clients, and a page for those that run in a browser.

`/scripts/<key>?answers=end,502,live` gives these answers to the requests for this key, one after the other; the last
one is repeated. Streams have the product's bytes: the opening, an event that the client missed, and a heartbeat. Then
a stream ends as in a deploy (`end`), is severed (`cut`), ends for good (`stop`) or stays open (`live`). `later` is the
answer of a server without room; numbers are statuses. `event` is the name of the events, and `before` precedes their
data, which is "one" in the first stream, and so on. `/asked` has the ids that the clients sent, by key.

`/answers/<key>/<kind>/chat/completions` is a wrapped view that answers a POST as a language model does: it always gives
the same answer, of which the first token is "one".
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from pathlib import Path

from flask import Flask, Response, current_app, jsonify, request, send_file

import flask_ssemux
from flask_ssemux.errors import Forbidden
from flask_ssemux.http.responses import make_refusal, make_retry_later, make_stay_away, make_stream
from flask_ssemux.http.stream_request import LAST_ID_PARAMETERS
from flask_ssemux.sse import encode
from tests.apps import plain
from tests.apps.npm import npm

#: Milliseconds that clients wait.
PAUSE = 50

WORDS = ("one", "two", "three", "four")

PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="module">
import * as clients from "/script_clients.js";
const query = new URLSearchParams(location.search);
const who = query.get("name");
for (const script of query.get("scripts").split(";")) {
  const tell = (what, more) => window.report({ who, what, script, ...more });
  clients[query.get("client")](`/scripts/${who}-${script}?answers=${script}`, tell, `${who}-${script}`);
}
</script>
"""

asked: defaultdict = defaultdict(list)


def create_app() -> Flask:
    app = plain.create_app()
    app.register_blueprint(npm)

    @app.route("/scripts/<key>")
    def script(key):
        answers = request.args["answers"].split(",")
        number = len(asked[key])
        asked[key].append(request.headers.get("Last-Event-ID") or find_last_id(request.args))
        return give(answers[min(number, len(answers) - 1)], "room:" + key, WORDS[min(number, len(WORDS) - 1)])

    @app.route("/answers/<key>/<kind>/chat/completions", methods=["POST"])
    @flask_ssemux.streaming
    def answer(key, kind):
        asked["%s-%s" % (key, kind)].append("")
        if kind != "end":
            return give(kind, "room:" + key, "")
        return Response(think(), mimetype="text/event-stream")

    @app.route("/asked")
    def list_asked():
        return jsonify(asked)

    @app.route("/page")
    def page():
        """Send a page that opens the query's `scripts`, separated by semicolons, with `client` of script_clients.js."""
        return Response(PAGE, content_type="text/html; charset=utf-8")

    @app.route("/script_clients.js")
    def clients():
        return send_file(str(Path(__file__).parents[1] / "browser" / "script_clients.js"))

    return app


def find_last_id(query):
    return next((text for name, text in query.items() if name.lower() in LAST_ID_PARAMETERS), "")


def give(kind, channel, word):
    if kind in ("end", "cut", "stop", "live"):
        return make_stream(stream(kind, missed(channel, word)))
    if kind == "later":
        return make_retry_later("no room", PAUSE)
    if kind == "204":
        return make_stay_away()
    if kind == "403":
        return make_refusal(Forbidden("a test", channel))
    return Response("<h1>502 Bad Gateway</h1>", int(kind), content_type="text/html")


def missed(channel, word):
    """Return what a client gets that missed this event: the opening frames, and the event."""
    before = flask_ssemux.cursor()
    flask_ssemux.publish(channel, request.args.get("before", "") + word, event=request.args.get("event"))
    query = {"channel": channel, "poll": "now", "last_event_id": str(before)}
    return current_app.test_client().get("/events", query_string=query).data


def think():
    """Yield the beginning of a model's answer, think until there was a heartbeat, and end as in a deploy."""
    delta = {"index": 0, "delta": {"role": "assistant", "content": "one"}, "finish_reason": None}
    chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tale", "choices": [delta]}
    yield "data: %s\n\n" % json.dumps(chunk)
    time.sleep(1.5 * float(os.environ["SSEMUX_HEARTBEAT"]))


def stream(kind, first):
    yield first + encode.make_heartbeat()
    if kind == "cut":
        time.sleep(0.3)  # the client reads what came before
        raise ConnectionAbortedError("a test")
    if kind == "end":
        yield encode.make_retry(PAUSE, "this worker stops")
    if kind == "stop":
        yield encode.make_stay_away_frame("stop", "a test")
    while kind == "live":
        time.sleep(0.5)
        yield encode.make_heartbeat()
