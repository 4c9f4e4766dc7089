"""How an application writes JSON: with its own provider, as its ``jsonify`` does. What an application publishes, and
its snapshots, are written with it.

The application is passed in: of Flask, only what its older versions need is imported, and only there.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

from ..sse.data import JSONWriter

_ADVICE = "convert it before you publish, or let the application's JSON provider, %s, take it"


class ApplicationJSON:
    """How one application writes JSON. Its provider is looked up for each event, because it may be set late."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._provider: Any = None
        self._writer: JSONWriter | None = None

    def get_writer(self) -> JSONWriter:
        """Return how the application writes JSON now."""
        provider = getattr(self._app, "json", None)
        if provider is self._provider and self._writer is not None:
            return self._writer
        self._provider, self._writer = provider, make_json_writer(self._app)
        return self._writer


def make_json_writer(app: Any) -> JSONWriter:
    """Return how this application writes JSON now: compact, and otherwise as ``jsonify`` does.

    ``JSONIFY_PRETTYPRINT_REGULAR`` and ``app.json.compact`` do not count: an event has no reader who wants indents.
    """
    provider = getattr(app, "json", None)
    if provider is None:  # Flask before 2.2
        return JSONWriter(_find_old_dumps(app), _ADVICE % "app.json_encoder")
    return JSONWriter(_find_dumps(provider), _ADVICE % "app.json")


def _find_dumps(provider: Any) -> Callable[[Any], str | bytes]:
    """Return what ``provider.response`` calls: only Flask's own provider has the argument."""
    from flask.json.provider import DefaultJSONProvider

    if isinstance(provider, DefaultJSONProvider):
        return partial(provider.dumps, separators=(",", ":"))
    found: Callable[[Any], str | bytes] = provider.dumps
    return found


def _find_old_dumps(app: Any) -> Callable[[Any], str | bytes]:
    from flask import json

    return partial(json.dumps, app=app, separators=(",", ":"))
