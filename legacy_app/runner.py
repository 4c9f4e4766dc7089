"""Runs a job as a run of flask_ssemux, in a thread (under gevent: a greenlet) of the worker that received the upload.

The run checks the file with checks.py, slowly enough that a person can follow it. It saves each step first, then
publishes it to everyone, and yields it to the run's readers. It goes on without readers, and a deploy waits for it.
There is no SQL and no route here.
"""

from __future__ import annotations

import os
import threading
import time

from flask import current_app

import flask_ssemux

from . import checks, jobs, stream_after

BROKEN = "the check failed with an error; the server's log has the details"
CANCELLED = "cancelled before its end"
NOT_STARTED = "the server could not start this check; please send the file again later"
YIELD_LINES = 5000  # lines between two pauses; they take about 4 ms
YIELD_SECONDS = 0.001  # lets the worker serve other requests; with sleep(0) gevent would not poll its sockets


def init_app(app):
    app.extensions["legacy_app.slots"] = threading.Semaphore(app.config["LEGACY_APP_JOBS_AT_ONCE"])


def submit_job(upload, user):
    """Create a job for the upload, and start its run. Return the job's row and the run.

    :raises TooManyRuns: too many jobs run already.
    :raises BrokerError: the broker cannot be reached.
    """
    row = jobs.create_job(upload, user)
    stream_after.announce_job(row)
    try:
        run = flask_ssemux.start_run(check_job(row["id"]), owner=user.id if user else None)
    except flask_ssemux.SSEMuxError:
        end_job(jobs.fail_job(row["id"], NOT_STARTED))
        raise
    return row, run


def check_job(job_id):
    """Check a job's file. Yield the job, as visitors see it, after each step and at its end."""
    try:
        with current_app.extensions["legacy_app.slots"]:
            row = jobs.start_job(job_id)
            if row is not None:
                yield from _yield_steps(row)
    except BaseException as error:  # one that is no Exception closes the generator: the run was cancelled
        end_job(jobs.fail_job(job_id, BROKEN if isinstance(error, Exception) else CANCELLED))
        raise


def _yield_steps(row):
    yield _announce_step(row)
    end = yield from _check_row(row)
    if end is not None:
        end_job(end)
        yield "job", jobs.as_public(end)


def _announce_step(row):
    stream_after.announce_job(row)
    return "job", jobs.as_public(row)


def end_job(row):
    """Delete the file of a job that has ended, and publish its end. This does nothing for None."""
    if row is None:
        return
    _remove_file(row["path"])
    stream_after.announce_job(row)
    stream_after.notify_owner(row)


def _check_row(row):
    """Check the job's file, and return the job's row after its last move, or None if the watch has ended the job."""
    try:
        report = yield from _check_file(row)
        return jobs.finish_job(row["id"], report, _summarize_report(report))
    except checks.Unreadable as error:
        return jobs.fail_job(row["id"], str(error))
    except Exception:
        current_app.logger.exception("the check of job %s failed with an error", row["id"])
        return jobs.fail_job(row["id"], BROKEN)


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
            progress = jobs.save_progress(row["id"], report)
            if progress is not None:
                yield _announce_step(progress)
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
