"""The blueprint of ``GET /events`` and of the modules that browsers load.

``open_stream.py`` has what a stream's view does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from flask import Blueprint, Response, current_app, request

from ..access.rules import Rules
from ..runs.host import RunHost
from ..state import RUN_PATH
from ..worker.worker import Worker
from .open_stream import serve_stream
from .run_source import make_run_view
from .stream_source import EventsSource

#: The module that a page imports, the one that it loads where streams are held back, and the adapters; by endpoint.
CLIENT_MODULES = {
    "client": "ssemux.js",
    "client_poll": "ssemux-poll.js",
    "client_htmx": "ssemux-htmx.js",
    "client_datastar": "ssemux-datastar.js",
}


def make_blueprint(
    worker: Worker, rules: Rules, runs: RunHost, options: Sequence[Mapping[str, Any]] = ({},)
) -> Blueprint:
    """
    The blueprint has no URL if ``SSEMUX_URL`` is off.

    :param options: of each rule that a URL needs; see ``hosts.make_rule_options``.
    """
    blueprint = Blueprint("ssemux", __name__)
    url, source = worker.options.url, EventsSource(rules)
    if url is None:
        return blueprint

    def add_view(path: str, endpoint: str, view: Callable[..., Response]) -> None:
        name_view(view, "ssemux_" + endpoint)
        for more in options:
            blueprint.add_url_rule(path, endpoint, view, **more)

    add_view(url, "events", lambda **values: serve_stream(worker, source))
    add_view(url.rstrip("/") + RUN_PATH + "<run_id>", "run", make_run_view(worker, rules, runs))
    for endpoint, name in CLIENT_MODULES.items():
        add_view("%s/%s" % (url.rstrip("/"), name), endpoint, _make_module_view(name))
    return blueprint


def name_view(view: Callable[..., Response], name: str) -> None:
    """Give a view a name of its own.

    Other extensions identify a view by its module and its name, as Flask-WTF and Flask-Limiter do: if one view were
    exempted, all views of the same name would be, too.
    """
    view.__name__ = view.__qualname__ = name.replace(".", "_")


def _make_module_view(name: str) -> Callable[[], Response]:
    def view() -> Response:
        return make_asset(Path(__file__).parents[1].joinpath("static") / name, "text/javascript")

    return view


def make_asset(file: Path, content_type: str) -> Response:
    """Return a file for browsers. They keep it, and ask each time whether it has changed, so they notice a deploy."""
    response = current_app.response_class(file.read_bytes(), content_type=content_type + "; charset=utf-8")
    response.headers["Cache-Control"] = "no-cache"
    response.add_etag()
    response.make_conditional(request)
    return response
