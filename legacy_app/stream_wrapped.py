"""Step 1 of the migration: the old view, unchanged, with one decorator.

It still polls, but it passes through proxies, sends heartbeats while it sleeps, and ends when its client leaves. Do not
change anything else about the view here.
"""

from __future__ import annotations

from flask import Blueprint

import flask_ssemux

from . import stream_before

bp = Blueprint("stream_wrapped", __name__)


@bp.route("/api/jobs/stream-wrapped")
@flask_ssemux.streaming
def stream():
    return stream_before.stream()
