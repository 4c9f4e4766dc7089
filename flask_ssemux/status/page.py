"""The routes of the status page, its stream, and the same figures as JSON and for Prometheus.

Each route asks the application's ``allow_status`` function first. The page consists of files in ``static/`` that refer
to each other with relative URLs, so it works wherever the application is mounted. The figures are computed elsewhere.
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
from .feed import StatusFeed

_STATIC = Path(__file__).parents[1] / "static"

_SCRIPTS = ("status.js", "status_charts.js", "status_history.js", "status_parts.js")

#: The page loads nothing from other hosts, runs only its own scripts, and other hosts cannot put it into a frame.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def add_routes(app: Flask, service: ApplicationState) -> None:
    """Register the routes. An application without an ``allow_status`` function has none of them."""
    worker, rules = service.worker, service.rules
    feed, url = StatusFeed(worker), worker.options.url

    def add_route(path: str, view: Callable[[], Response]) -> str:
        endpoint = "ssemux_" + path.strip("/").replace("/", "_").replace(".", "_")
        allowed = _require_permission(rules, view)
        name_view(allowed, endpoint)
        for more in rule_options(app):
            app.add_url_rule(url + path, endpoint, allowed, **more)
        return endpoint

    add_route("/status", _show_page)
    add_route("/status.css", lambda: asset(_STATIC / "status.css", "text/css"))
    for script in _SCRIPTS:
        add_route("/" + script, _make_script_view(script))
    add_route("/status.json", lambda: _forbid_storing(jsonify(feed.collect_status())))
    add_route("/metrics", lambda: _forbid_storing(_show_metrics(feed)))
    service.endpoints.add(add_route("/status/stream", answering(worker, lambda: _open_stream(worker, rules, feed))))


def _require_permission(rules: Rules, view: Callable[[], Response]) -> Callable[[], Response]:
    def checked_view() -> Response:
        try:
            rules.check_status()
        except Forbidden as error:
            abort(403, str(error))
        return view()

    return checked_view


def _make_script_view(name: str) -> Callable[[], Response]:
    return lambda: asset(_STATIC / name, "text/javascript")


def _show_page() -> Response:
    response = asset(_STATIC / "status.html", "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _open_stream(worker: Worker, rules: Rules, feed: StatusFeed) -> Response:
    """Open the page's stream. Like any other it counts among its user's streams, and ends with them.

    A long poll that waits gets only the next status, because the poll before it got the current one.
    """
    taken = worker.running().hub.count_revocations()
    asked, at_once = Asked(text_of(rules.user()), None, taken), polling() in ("", "now")
    return joined(worker, asked, lambda: feed.open_stream(asked.user_id, asked.taken, at_once))


def _show_metrics(feed: StatusFeed) -> Response:
    try:
        text, content_type = metrics.render_metrics(feed.collect_status(), request.headers.get("Accept", ""))
    except ImportError:
        return current_app.response_class(metrics.MISSING + "\n", 501, content_type="text/plain; charset=utf-8")
    return current_app.response_class(text, content_type=content_type)


def _forbid_storing(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
