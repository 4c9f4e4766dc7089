"""The stream of jobs as it was written years ago. Kept, faults and all, to be compared.

One generator for each client asks the database once a second. Its request's context,
and with it a database connection, stays open as long as the client does. No
header tells a proxy not to buffer; no ``id:`` lets a client resume. Do not
repair it: stream_wrapped.py and stream_after.py are the repairs.

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

    current = jobs.public_list()
    for job in current:
        known[job["id"]] = job["revision"]
    yield "event: jobs\ndata: %s\n\n" % json.dumps(current)

    while True:
        time.sleep(POLL_SECONDS)
        for job in reversed(jobs.public_list()):
            if known.get(job["id"]) != job["revision"]:
                known[job["id"]] = job["revision"]
                yield "event: job\ndata: %s\n\n" % json.dumps(job)
        if time.time() >= heartbeat_at:
            heartbeat_at = time.time() + HEARTBEAT_SECONDS
            yield ": heartbeat\n\n"
