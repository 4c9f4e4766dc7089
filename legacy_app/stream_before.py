"""The stream of jobs as it was written years ago. It is kept with all its faults, for comparison.

One generator for each client polls the database once a second. The request's context, and with it a database
connection, stays open as long as the client is connected. No header tells a proxy not to buffer, and no ``id:`` lets a
client resume. Do not fix this file: stream_wrapped.py and stream_after.py contain the fixes.

Events: ``jobs``, the list, once at the start; ``job``, each job that changed.
"""

from __future__ import annotations

import json
import time

from flask import Blueprint, Response, stream_with_context

from . import jobs

bp = Blueprint("stream_before", __name__)

POLL_SECONDS = 1
HEARTBEAT_SECONDS = 25


@bp.route("/api/jobs/stream-before")
def stream():
    return Response(stream_with_context(generate()), mimetype="text/event-stream")


def generate():
    known = {}
    heartbeat_at = time.time() + HEARTBEAT_SECONDS

    current = jobs.list_public_jobs()
    for job in current:
        known[job["id"]] = job["revision"]
    yield "event: jobs\ndata: %s\n\n" % json.dumps(current)

    while True:
        time.sleep(POLL_SECONDS)
        for job in reversed(jobs.list_public_jobs()):
            if known.get(job["id"]) != job["revision"]:
                known[job["id"]] = job["revision"]
                yield "event: job\ndata: %s\n\n" % json.dumps(job)
        if time.time() >= heartbeat_at:
            heartbeat_at = time.time() + HEARTBEAT_SECONDS
            yield ": heartbeat\n\n"
