"""The table of jobs: the states of a job, and the moves between them.

All SQL of the application is here. Each move is one statement, which is committed when the function returns, and which
changes a job only if its state allows the move. Nothing is published here: the callers (runner.py, watch.py) do that.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

from . import db, process, queries

LISTED = 50  # how many of the newest jobs the page and the streams show

MOVES = {"start": ("queued",), "progress": ("running",), "finish": ("running",), "fail": ("queued", "running")}


def create_job(upload, user):
    """Create a queued job, and return its row."""
    values = {
        "name": upload.name,
        "kind": upload.kind,
        "size": upload.size,
        "path": upload.path,
        "lines": upload.lines,
        "user_id": user.id if user else None,
        "user_name": user.name if user else None,
        "process": process.get_process_name(),
        "created_at": _now(),
    }
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    with db.get_connection() as connection:
        cursor = connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(values.values()))
    return find_job(cursor.lastrowid)


def start_job(job_id):
    return _move("start", job_id, state="running")


def save_progress(job_id, report):
    return _move("progress", job_id, **_columns(report))


def finish_job(job_id, report, message):
    return _move("finish", job_id, state="done", message=message, finished_at=_now(), **_columns(report))


def fail_job(job_id, message):
    return _move("fail", job_id, state="failed", message=message, finished_at=_now())


def find_job(job_id):
    """Return the job's row, or None."""
    return db.get_connection().execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()


def find_latest_jobs():
    """Return the rows of the newest jobs, newest first."""
    return db.get_connection().execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (LISTED,)).fetchall()


def find_unfinished_jobs():
    """Return the rows of all jobs that have not ended."""
    return db.get_connection().execute("SELECT * FROM jobs WHERE state IN ('queued', 'running')").fetchall()


def as_public(row):
    """Return a job as visitors see it in the API, in the streams and on the page."""
    return {
        "id": row["id"],
        "name": row["name"],
        "kind": row["kind"],
        "size": row["size"],
        "by": row["user_name"],
        "state": row["state"],
        "lines": row["lines"],
        "done": row["done"],
        "rows": row["rows"],
        "problems": row["problems"],
        "notes": json.loads(row["notes"]),
        "message": row["message"],
        "revision": row["revision"],
        "created_at": row["created_at"],
        "finished_at": row["finished_at"],
    }


def list_public_jobs():
    """Return the newest jobs as visitors see them. The page /demo shows how often the streams call this."""
    queries.count_query()
    return [as_public(row) for row in find_latest_jobs()]


def _move(move, job_id, **values):
    """Make a move. Return the job's row after it, or None if the job's state does not allow the move."""
    sets = ", ".join(f"{name} = ?" for name in values)
    states = MOVES[move]
    marks = ", ".join("?" * len(states))
    with db.get_connection() as connection:
        changed = connection.execute(
            f"UPDATE jobs SET {sets}, revision = revision + 1 WHERE id = ? AND state IN ({marks})",
            (*values.values(), job_id, *states),
        ).rowcount
    return find_job(job_id) if changed else None


def _columns(report):
    return {
        "done": report.done,
        "rows": report.rows,
        "problems": report.problems,
        "notes": json.dumps(report.notes),
    }


def _now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
