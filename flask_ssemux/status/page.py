"""The routes of the status page, its stream, and the same figures as JSON and for Prometheus.

Each route asks the application's ``allow_status`` function first. The page consists of files in ``static/`` that refer
to each other with relative URLs, so it works wherever the application is mounted. The figures are computed elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

from flask import Flask, Response, current_app, request

from ..errors import ConfigurationError
from ..http.hosts import make_rule_options
from ..http.open_stream import serve_stream
from ..http.views import make_asset, name_view
from ..state import ApplicationState
from . import metrics
from .feed import StatusFeed
from .feed_source import FeedSource, abort_unless_allowed

_STATIC = Path(__file__).parents[1] / "static"

_SCRIPTS = ("status.js", "status_charts.js", "status_history.js", "status_parts.js")

#: The page loads nothing from other hosts, runs only its own scripts, and other hosts cannot put it into a frame.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


def add_routes(app: Flask, state: ApplicationState) -> None:
    """Register the routes. An application without an ``allow_status`` function has none of them.

    :raises ConfigurationError: there is no URL below which they could be.
    """
    worker, rules = state.worker, state.rules
    if worker.options.url is None:
        raise ConfigurationError(
            "allow_status has a function, but there is no status page, since SSEMUX_URL is off: the page is at "
            "SSEMUX_URL/status; set SSEMUX_URL to a path such as '/events', or remove the function"
        )
    feed, url = StatusFeed(worker), worker.options.url
    source = FeedSource(rules, feed)

    def add_route(path: str, view: Callable[[], Response]) -> str:
        endpoint = "ssemux_" + path.strip("/").replace("/", "_").replace(".", "_")
        name_view(view, endpoint)
        for more in make_rule_options(app):
            app.add_url_rule(url + path, endpoint, view, **more)
        state.page_endpoints.add(endpoint)
        return endpoint

    def add_checked_route(path: str, view: Callable[[], Response]) -> None:
        def checked_view() -> Response:
            abort_unless_allowed(rules)
            return view()

        add_route(path, checked_view)

    add_checked_route("/status", _show_page)
    add_checked_route("/status.css", lambda: make_asset(_STATIC / "status.css", "text/css"))
    for script in _SCRIPTS:
        add_checked_route("/" + script, _make_script_view(script))
    add_checked_route("/status.json", lambda: _forbid_storing(_answer_json(feed.collect_status())))
    add_checked_route("/metrics", lambda: _forbid_storing(_show_metrics(feed)))
    state.endpoints.add(add_route("/status/stream", lambda: serve_stream(worker, source)))


def _make_script_view(name: str) -> Callable[[], Response]:
    return lambda: make_asset(_STATIC / name, "text/javascript")


def _show_page() -> Response:
    response = make_asset(_STATIC / "status.html", "text/html")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def _show_metrics(feed: StatusFeed) -> Response:
    try:
        text, content_type = metrics.render_metrics(feed.collect_status(), request.headers.get("Accept", ""))
    except ImportError:
        return current_app.response_class(metrics.MISSING + "\n", 501, content_type="text/plain; charset=utf-8")
    return current_app.response_class(text, content_type=content_type)


def _answer_json(value: Any) -> Response:
    """Return JSON as the page reads it: an application's own provider may write other names and numbers."""
    return current_app.response_class(json.dumps(value), content_type="application/json")


def _forbid_storing(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
