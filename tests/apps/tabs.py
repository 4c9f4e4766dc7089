"""The plain application for the tests of ssemux.js: a page that uses it, all kinds of answers, and control over the
streams.

`state:<name>` has a snapshot, which says how many events were published there. The page is a tab: its query has `name`,
`channels` (separated by commas), `options` of the client as JSON, `token` (an X-User header by a function, which sends
`window.token`), `lockless`, and `sandbox` (an origin of its own, which shares nothing). What the page receives goes to
`window.report`.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict

from flask import Flask, Response, current_app, jsonify, request

import flask_ssemux
from flask_ssemux.sse import encode
from tests.apps import plain

TAB = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<script type="module">
import { SSEMux } from "/events/ssemux.js";
const query = new URLSearchParams(location.search);
const who = query.get("name");
if (query.has("lockless"))  // as a browser's settings or a sandbox do
  navigator.locks.request = async () => { throw new DOMException("no locks here", "SecurityError"); };
const tell = (what, more) => window.report({ who, what, at: Date.now() / 1000, ...more });
const options = JSON.parse(query.get("options") || "{}");
if (query.has("token")) {  // who the client is, by a header that changes
  window.token = query.get("token");
  options.headers = async () => ({ "X-User": window.token });
}
const mux = (window.mux = new SSEMux("/events", options));
const report = ({ event, channel, id, data }) =>
  tell("event", { name: event, channel, id, data, leader: mux.leader });
mux.on("ssemux.leader", ({ leader }) => tell("leader", { leader, same: leader === mux.leader }));
window.read = (name) => mux.channel(name).on("n", report).on("state", report);
for (const name of (query.get("channels") || "").split(",").filter(Boolean)) read(name);
mux.on("n", report);
for (const state of ["connecting", "open", "stale", "closed"])
  mux.on("ssemux." + state, (now) => tell("state", now));
addEventListener("pageshow", ({ persisted }) => tell("pageshow", { persisted, state: mux.state, leader: mux.leader }));
for (const what of ["error", "reset", "degraded", "restored"]) mux.on("ssemux." + what, (it) => tell(what, { it }));
</script>
"""

counts: Counter = Counter()
asked: Counter = Counter()
said: defaultdict = defaultdict(list)


@plain.mux.authorize("state:<name>")
def may_see(user_id, name):
    return True


@plain.mux.authorize("private:<name>")
def may_read(user_id, name):
    return user_id is not None


@plain.mux.snapshot("state:<name>")
def state(name):
    yield "state", counts["state:" + name]


def create_app() -> Flask:
    app = plain.create_app()
    worker = app.extensions["ssemux"].worker

    @app.route("/tab")
    def tab():
        headers = {"Content-Security-Policy": "sandbox allow-scripts"} if "sandbox" in request.args else {}
        return Response(TAB, content_type="text/html; charset=utf-8", headers=headers)

    @app.after_request
    def let_sandboxes_read(response):
        if request.headers.get("Origin") == "null":
            response.headers["Access-Control-Allow-Origin"] = "null"
        return response

    @app.route("/say", methods=["POST"])
    def say():
        """Publish `count` numbers to each `channel`, continuing its earlier ones. With `latest` only the last one
        counts.
        """
        channels, made = request.args.getlist("channel"), []
        for _ in range(int(request.args.get("count", 1))):
            for channel in channels:
                counts[channel] += 1
                made.append(str(publish(channel, counts[channel], "latest" in request.args)))
        return jsonify(cursors=made, counts=counts)

    @app.route("/streams")
    def streams():
        """Return the users of the open streams, and how often each path of `/answers` was requested and with which
        id.
        """
        return jsonify(
            streams=[list(stream.channels) for stream in worker.running().hub.list_streams()], asked=asked, said=said
        )

    @app.route("/cut", methods=["POST"])
    def cut():
        """End all streams: at once, or with `how=end` as a deploy does."""
        for stream in worker.running().hub.list_streams():
            worker.running().hub.end_stream(stream, "a test") if request.args.get("how") == "end" else stream.abort(
                "a test"
            )
        return ""

    @app.route("/patience", methods=["POST"])
    def patience():
        """Send all streams a `retry:` of so many `seconds`."""
        frame = encode.make_retry(int(request.args["seconds"]) * 1000, "a test")
        worker.running().hub.send_frame(worker.running().hub.list_streams(), frame)
        return ""

    @app.route("/typed")
    def typed():
        """Send a stream of one frame, and each `type` of the query as a `Content-Type` header of its own."""
        response = Response(encode.make_own_frame("hello", {"heartbeat": 1, "timeout": 3}, flask_ssemux.cursor()))
        response.headers.setlist("Content-Type", request.args.getlist("type"))
        return response

    @app.route("/answers/<key>")
    def answers(key):
        """Give the query's answers one after the other; from `real` on, requests get the real stream."""
        wanted = request.args["answers"].split(",")
        number = asked[key]
        asked[key] += 1
        said[key].append(request.args.get("lastEventId"))
        if number >= len(wanted) or wanted[number] == "real":
            return current_app.view_functions["ssemux.events"]()
        return answer(wanted[number])

    return app


def publish(channel, number, latest):
    if channel == "*":
        return flask_ssemux.broadcast(number, event="n", latest=latest)
    return flask_ssemux.publish(channel, number, event="n", latest=latest)


def answer(kind):
    if kind == "html":
        return "<p>log in</p>"
    if kind == "retry":
        return Response(encode.make_retry(50, "no room"), content_type="text/event-stream")
    if kind == "stop":
        hello = encode.make_own_frame("hello", {"heartbeat": 1, "timeout": 3})
        stop = encode.make_stay_away_frame("stop", "a test")
        return Response(hello + stop, content_type="text/event-stream")
    if kind == "hello":
        hello = encode.make_own_frame("hello", {"heartbeat": 1, "timeout": 3})
        return Response(encode.make_retry(50, "") + hello, content_type="text/event-stream")
    if kind == "silent":
        return Response(silent(flask_ssemux.cursor()), content_type="text/event-stream")
    return Response(
        json.dumps({"error": "test", "message": "refused by the test"}), int(kind), content_type="application/json"
    )


def silent(cursor):
    """A stream that says hello and nothing else."""
    yield encode.make_retry(50, "") + encode.make_own_frame("hello", {"heartbeat": 0.2, "timeout": 1}, cursor)
    time.sleep(30)
