"""Step 1 1/2 of the migration: the old generator, unchanged, as a feed. It runs once for all clients together.

It still polls, but once a second in the whole deployment, and only while somebody reads; clients resume by id. What is
new here are the URL, the channel's name, and the list that a client gets first.
"""

from __future__ import annotations

from flask import Blueprint

from . import jobs, queries, stream_before

CHANNEL = "jobs-feed"

#: As in stream_after.py: functions that guard the blueprint also guard its stream.
bp = Blueprint("stream_feed", __name__)


def init_app(app, mux):
    mux.add_stream(
        queries.FEED,
        feed=stream_before.generate,
        channels=[CHANNEL],
        public=True,
        endpoint="stream",
        blueprint=bp,
    )
    app.register_blueprint(bp)

    @mux.snapshot(CHANNEL)
    def current_list():
        yield "jobs", jobs.list_public_jobs()  # the generator itself yields the list only when it begins
