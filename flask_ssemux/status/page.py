"""The routes of the status page, of the same as JSON and for Prometheus, and of the page's stream.

Each is behind the application's yes. The page itself is some files in ``static/`` and knows its neighbours by
relative URLs, so it works wherever the application is mounted. What is shown is made elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from flask import Flask, Response, abort, current_app, jsonify, request

from ..access.rules import Rules, text_of
from ..errors import Forbidden
from ..http.hosts import rule_options
from ..http.views import Asked, answering, asset, joined, name_view, polling
from ..state import ApplicationState
from ..worker.worker import Worker
from . import metrics
from .feed import Feed

_STATIC = Path(__file__).parents[1] / "static"

_SCRIPTS = ("status.js", "status_charts.js", "status_history.js", "status_parts.js")

#: The page loads nothing from outside, runs no script but its own, and is framed by nobody else.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def add(app: Flask, service: ApplicationState) -> None:
    """Register the routes. An application that allows nobody has none of them."""
    worker, rules = service.worker, service.rules
    feed, url = Feed(worker), worker.options.url

    def route(path: str, view: Callable[[], Response]) -> str:
        endpoint = "ssemux_" + path.strip("/").replace("/", "_").replace(".", "_")
        allowed = _allowed(rules, view)
        name_view(allowed, endpoint)
        for more in rule_options(app):
            app.add_url_rule(url + path, endpoint, allowed, **more)
        return endpoint

    route("/status", _page)
    route("/status.css", lambda: asset(_STATIC / "status.css", "text/css"))
    for script in _SCRIPTS:
        route("/" + script, _script(script))
    route("/status.json", lambda: _fresh(jsonify(feed.look())))
    route("/metrics", lambda: _fresh(_metrics(feed)))
    service.endpoints.add(route("/status/stream", answering(worker, lambda: _stream(worker, rules, feed))))


def _allowed(rules: Rules, view: Callable[[], Response]) -> Callable[[], Response]:
    def asked() -> Response:
        try:
            rules.check_status()
        except Forbidden as error:
            abort(403, str(error))
        return view()

    return asked


def _script(name: str) -> Callable[[], Response]:
    return lambda: asset(_STATIC / name, "text/javascript")


def _page() -> Response:
    response = asset(_STATIC / "status.html", "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _stream(worker: Worker, rules: Rules, feed: Feed) -> Response:
    """Counted among its user's streams, and ended with them, like any other.

    A poll that waits is for what comes: the one before it had what there was.
    """
    taken = worker.hub.orders_taken()
    asked, at_once = Asked(text_of(rules.user()), None, taken), polling() in ("", "now")
    return joined(worker, asked, lambda: feed.open(asked.user_id, asked.taken, at_once))


def _metrics(feed: Feed) -> Response:
    try:
        text, content_type = metrics.text(feed.look(), request.headers.get("Accept", ""))
    except ImportError:
        return current_app.response_class(metrics.MISSING + "\n", 501, content_type="text/plain; charset=utf-8")
    return current_app.response_class(text, content_type=content_type)


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
