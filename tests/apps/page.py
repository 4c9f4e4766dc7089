"""A page that opens a stream twice, with event-source-polyfill and with the browser's own EventSource.

Its query: `stream` (the URL, /events), `names` (the names of events to listen to beside `message`, separated by
commas), `heartbeat` (the polyfill's heartbeatTimeout in ms, 6000). Everything that the two receive goes into
`window.seen`, to the function `window.report` if a driver defined it, and into a visible list.
"""

from __future__ import annotations

from flask import Blueprint, Response, send_file

from tests.harness.packages import NODE_MODULES

page = Blueprint("page", __name__)

HTML = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>Two clients of one stream</title>
<script src="/polyfill.js"></script>
<ol id="seen"></ol>
<script>
const query = new URLSearchParams(location.search);
const url = query.get("stream") || "/events";
const names = (query.get("names") || "progress").split(",").concat("message");
const heartbeatTimeout = Number(query.get("heartbeat") || 6000);
window.seen = [];

function note(entry) {
  window.seen.push(entry);
  if (window.report) window.report(entry);
  const item = document.createElement("li");
  item.textContent = JSON.stringify(entry);
  document.getElementById("seen").append(item);
}

function open(who, Source, options) {
  const began = Date.now();
  const source = new Source(url, options);
  const tell = (what, more) => note({who, what, at: Date.now() / 1000, after: (Date.now() - began) / 1000, ...more});
  source.onopen = () => tell("open");
  source.onerror = () => tell("error", {state: source.readyState});
  for (const name of names)
    source.addEventListener(name, (e) => tell("event", {name: e.type, data: e.data, id: e.lastEventId}));
}

open("polyfill", EventSourcePolyfill, {heartbeatTimeout});
open("native", EventSource);
</script>
"""


@page.route("/")
def index() -> Response:
    return Response(HTML, content_type="text/html; charset=utf-8")


@page.route("/polyfill.js")
def polyfill() -> Response:
    return send_file(str(NODE_MODULES / "event-source-polyfill" / "src" / "eventsource.js"))
