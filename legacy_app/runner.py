"""Runs a job in a thread (under gevent: a greenlet) of the worker that took the upload.

Walks a file through checks.py at a pace that a person can follow, saves each step,
and only then tells the streams. No SQL, no routes.
"""

from __future__ import annotations

import os
import threading
import time

from flask import current_app

from . import checks, jobs, stream_after

BREATH_LINES = 5000  # lines between two breaths; they take some 4 ms
BREATH_SECONDS = 0.001  # lets the worker's other requests in; sleep(0) would not let gevent look at its sockets


def init_app(app):
    app.extensions["legacy_app.slots"] = threading.Semaphore(app.config["LEGACY_APP_JOBS_AT_ONCE"])


def submit(upload, user):
    """Make a job of the upload and start it; the job's row."""
    row = jobs.create(upload, user)
    stream_after.announce(row)
    app = current_app._get_current_object()
    threading.Thread(target=_run, args=(app, row["id"]), daemon=True).start()
    return row


def _run(app, job_id):
    with app.extensions["legacy_app.slots"], app.app_context():
        row = jobs.start(job_id)
        if row is not None:
            stream_after.announce(row)
            end(_outcome(row))


def end(row):
    """What follows when a job has ended: its file goes, and people hear of it. Does nothing for None."""
    if row is None:
        return
    _remove(row["path"])
    stream_after.announce(row)
    stream_after.notify(row)


def _outcome(row):
    """Check the job's file; the row after its last move."""
    try:
        report = _check(row)
        return jobs.finish(row["id"], report, _summary(report))
    except checks.Unreadable as error:
        return jobs.fail(row["id"], str(error))
    except Exception:
        current_app.logger.exception("job %s broke off", row["id"])
        return jobs.fail(row["id"], "the check broke off; the server's log says why")


def _check(row):
    """Walk through the file in steps; the last report."""
    step = -(-row["lines"] // current_app.config["LEGACY_APP_STEPS"])
    saved = 0
    with open(row["path"], encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        for report in checks.check(row["kind"], lines, min(step, BREATH_LINES)):
            if report.done - saved < step:
                time.sleep(BREATH_SECONDS)
                continue
            saved = report.done
            stream_after.announce(jobs.progress(row["id"], report))
            time.sleep(current_app.config["LEGACY_APP_STEP_SECONDS"])
    return report


def _summary(report):
    rows = _count(report.rows, "row")
    return f"{rows}, {_count(report.problems, 'problem')}" if report.problems else f"{rows}, all good"


def _count(number, word):
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _remove(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
