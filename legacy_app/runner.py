"""Runs a job in a thread (under gevent: a greenlet) of the worker that received the upload.

The thread checks the file with checks.py, slowly enough that a person can follow it. It saves each step first, and
publishes it then. There is no SQL and no route here.
"""

from __future__ import annotations

import os
import threading
import time

from flask import current_app

from . import checks, jobs, stream_after

YIELD_LINES = 5000  # lines between two pauses; they take about 4 ms
YIELD_SECONDS = 0.001  # lets the worker serve other requests; with sleep(0) gevent would not poll its sockets


def init_app(app):
    app.extensions["legacy_app.slots"] = threading.Semaphore(app.config["LEGACY_APP_JOBS_AT_ONCE"])


def submit_job(upload, user):
    """Create a job for the upload, start it, and return its row."""
    row = jobs.create_job(upload, user)
    stream_after.announce_job(row)
    app = current_app._get_current_object()
    threading.Thread(target=_run_job, args=(app, row["id"]), daemon=True).start()
    return row


def _run_job(app, job_id):
    with app.extensions["legacy_app.slots"], app.app_context():
        row = jobs.start_job(job_id)
        if row is not None:
            stream_after.announce_job(row)
            end_job(_check_job(row))


def end_job(row):
    """Delete the file of a job that has ended, and publish its end. This does nothing for None."""
    if row is None:
        return
    _remove_file(row["path"])
    stream_after.announce_job(row)
    stream_after.notify_owner(row)


def _check_job(row):
    """Check the job's file, and return the job's row after its last move."""
    try:
        report = _check_file(row)
        return jobs.finish_job(row["id"], report, _summarize_report(report))
    except checks.Unreadable as error:
        return jobs.fail_job(row["id"], str(error))
    except Exception:
        current_app.logger.exception("the check of job %s failed with an error", row["id"])
        return jobs.fail_job(row["id"], "the check failed with an error; the server's log has the details")


def _check_file(row):
    """Check the file in steps, and return the last report."""
    step = -(-row["lines"] // current_app.config["LEGACY_APP_STEPS"])
    saved = 0
    with open(row["path"], encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        for report in checks.check_file(row["kind"], lines, min(step, YIELD_LINES)):
            if report.done - saved < step:
                time.sleep(YIELD_SECONDS)
                continue
            saved = report.done
            stream_after.announce_job(jobs.save_progress(row["id"], report))
            time.sleep(current_app.config["LEGACY_APP_STEP_SECONDS"])
    return report


def _summarize_report(report):
    rows = _format_count(report.rows, "row")
    return f"{rows}, {_format_count(report.problems, 'problem')}" if report.problems else f"{rows}, all good"


def _format_count(number, word):
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def _remove_file(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
