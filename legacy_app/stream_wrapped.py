"""Step 1 of the migration: the old view, unchanged, below one decorator.

It still polls; but it gets through proxies, beats while it sleeps, and is
closed when its client leaves. Nothing else may be done to it here.
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
