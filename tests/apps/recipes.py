"""A page for each library of docs/client.md, exactly as printed there; it reports what it shows by `window.report`.

The page's host is `<user>.localhost`, and its user is the library, which may read the channel of that name: each
library wants events of its own kind. The user `refused-<library>` sees the library's page, and may not read its
channel. The first page of `old-<library>` is rendered with a cursor that is no longer known.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import NamedTuple

from flask import Flask, Response, jsonify, render_template_string, request, send_file
from markupsafe import escape

import flask_ssemux
from flask_ssemux.http import responses
from tests.apps.npm import npm, send_datastar
from tests.harness.document import block
from tests.harness.packages import NODE_MODULES


class Library(NamedTuple):
    """How a library is used.

    :param lines: the document's lines for it.
    :param files: what the block loads: the name in the block, and the file.
    :param publishing: which of the document's calls of `publish` is meant for it.
    """

    lines: str
    files: dict
    publishing: int


def make_htmx(lines, htmx, extension, publishing):
    files = {"htmx.js": htmx, "htmx4.js": htmx, "htmx-ext-sse.js": extension, "hx-sse.js": extension}
    return Library(lines, files, publishing)


HTMX = block("client.md", "html", '<script src="/static/htmx.js">')
HTMX4 = block("client.md", "html", '<script src="/static/htmx4.js">')
DATASTAR = block("client.md", "html", '<script type="module" src="/static/datastar.js">')
TURBO = block("client.md", "html", '<script type="module">\n  import { renderStreamMessage }')
FINAL = block("client.md", "js", "class Final")

LIBRARIES = {
    "htmx1": make_htmx(HTMX, "htmx1/dist/htmx.js", "htmx1/dist/ext/sse.js", 0),
    "htmx2": make_htmx(HTMX, "htmx.org/dist/htmx.js", "htmx-ext-sse/dist/sse.js", 0),
    "htmx4": make_htmx(HTMX4, "htmx4/dist/htmx.js", "htmx4/dist/ext/hx-sse.js", 1),
    "datastar": Library(DATASTAR, {}, 2),
    "turbo": Library(TURBO, {"turbo.js": "@hotwired/turbo/dist/turbo.es2017-esm.js"}, 3),
    "fetch": Library(FINAL, {}, 0),
}

PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<body>
<script>
  if (!window.hide) { // Turbo runs this again at each visit
    const who = (window.who = location.hostname.split(".")[0]);
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes)
        for (const { tagName, textContent } of addedNodes)
          if (tagName === "LI") window.report({ who, what: "shown", text: textContent });
    }).observe(document, { childList: true, subtree: true });
    window.hide = (hidden) => {
      Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    };
  }
</script>
%s
"""

#: What a page defines that uses the document's lines for fetchEventSource.
FETCH = """<script type="module">
import { fetchEventSource } from "/npm/@microsoft/fetch-event-source/lib/esm/fetch.js";
const cursor = "{{ cursor }}";
const show = (html) => document.body.insertAdjacentHTML("beforeend", html);
%s
</script>
"""

#: What a page shows that reads its state again.
STATE = "<li>state</li>"

asked: Counter = Counter()
shown: Counter = Counter()
unlucky: set = set()
mux = flask_ssemux.SSEMux()


@mux.identify
def who():
    return request.host.partition(".")[0]


@mux.authorize("<library>")
def may_read(user_id, library):
    return user_id in (library, "old-" + library)


@mux.snapshot("datastar")
def snapshot():
    yield "datastar-patch-elements", 'elements <ul id="news">%s</ul>' % STATE


def create_app() -> Flask:
    responses.RETRY_SECONDS = (0.3, 0.5)  # after so long a client that found no room comes back
    app = Flask(__name__, static_folder=None, instance_path=os.environ["INSTANCE_PATH"])
    app.register_blueprint(npm)
    mux.init_app(app)

    @app.before_request
    def note():
        """Count a request for a stream. The first one of htmx 4 gets what a proxy answers while the server is away."""
        if request.path == "/events":
            asked[who()] += 1
            if "HX-Request" in request.headers and who() not in unlucky:
                unlucky.add(who())
                return "<li>502 Bad Gateway</li>", 502
        return None

    @app.route("/")
    def page():
        shown[who()] += 1
        is_old = who().startswith("old-") and shown[who()] == 1
        cursor = "unknown-1" if is_old else flask_ssemux.cursor()
        html = render_template_string(PAGE % make_page(find_library()), cursor=cursor)
        return Response(html, content_type="text/html; charset=utf-8")

    @app.route("/news")
    def news():
        return STATE

    @app.route("/static/<name>")
    def static(name):
        if name == "datastar.js":
            return send_datastar()
        return send_file(str(NODE_MODULES / LIBRARIES[find_library()].files[name]))

    @app.route("/counts")
    def counts():
        """Return how often streams and pages were requested, by user."""
        return jsonify(streams=asked, pages=shown)

    @app.route("/stop", methods=["POST"])
    def stop():
        for library in LIBRARIES:
            mux.disconnect(library, stop=True, reason="a test")
        return ""

    return app


def find_library():
    return who().partition("-")[2] or who()


def make_page(library):
    """Return the document's block with the library's channel and a shorter wait."""
    lines = LIBRARIES[library].lines
    found = FETCH % lines if library == "fetch" else lines
    found = found.replace("3000", "300")
    return found.replace("channel=news", "channel=" + library).replace('channel("news")', 'channel("%s")' % library)


def publish(publisher, library, word):
    """Publish a list item with this word, by the document's lines, in the library's channel."""
    calls = Calls()
    exec(block("client.md", "python", "html = "), {"flask_ssemux": calls, "escape": escape, "title": word})
    data, event = calls.made[LIBRARIES[library].publishing]
    publisher.publish(library, data, event=event)


class Calls:
    """Takes the place of the module in the document's lines."""

    def __init__(self):
        self.made = []

    def publish(self, channel, data, event=None):
        assert channel == "news"
        self.made.append((data, event))
