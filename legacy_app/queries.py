"""Counts how often the streams of jobs ask the database for the list, over all workers. /demo shows the figures.

Each query appends one byte to a file of its stream, and the file's size is the count: the system appends atomically,
also for several processes. Nothing else is measured here.
"""

from __future__ import annotations

import os

from flask import Blueprint, current_app, has_request_context, jsonify, request

FEED = "/api/jobs/stream-feed"
STREAMS = ("/api/jobs/stream-before", "/api/jobs/stream-wrapped", FEED, "/api/jobs/stream")

bp = Blueprint("queries", __name__)


def init_app(app):
    os.makedirs(_get_folder(app), exist_ok=True)
    app.register_blueprint(bp)


@bp.route("/api/queries")
def show_counts():
    """Answer with the number of queries of each stream since the application was installed."""
    return jsonify({url: _read_count(url) for url in STREAMS})


def count_query():
    """Count one query of the stream that the request asked for. The feed's generator runs without a request."""
    url = request.path if has_request_context() else FEED
    if url in STREAMS:
        with open(_get_path(url), "ab", buffering=0) as file:
            file.write(b".")


def _read_count(url):
    try:
        return os.path.getsize(_get_path(url))
    except FileNotFoundError:
        return 0


def _get_path(url):
    return os.path.join(_get_folder(current_app), url.rpartition("/")[2])


def _get_folder(app):
    return os.path.join(app.instance_path, "queries")
