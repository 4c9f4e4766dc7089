"""The jobs' table: a job's states, and its moves between them.

All SQL of the application is here. Each move is one statement that is committed when
the function returns, and takes place only from the states it is allowed from.
Tells nobody: publishing is for whoever calls (runner.py, watch.py).
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

from . import db, process

LISTED = 50  # the newest jobs, on the page and in the streams

MOVES = {"start": ("queued",), "progress": ("running",), "finish": ("running",), "fail": ("queued", "running")}


def create(upload, user):
    """A new job, queued, as a row."""
    values = {
        "name": upload.name,
        "kind": upload.kind,
        "size": upload.size,
        "path": upload.path,
        "lines": upload.lines,
        "user_id": user.id if user else None,
        "user_name": user.name if user else None,
        "process": process.name(),
        "created_at": _now(),
    }
    names = ", ".join(values)
    marks = ", ".join("?" * len(values))
    with db.get() as connection:
        cursor = connection.execute(f"INSERT INTO jobs ({names}) VALUES ({marks})", tuple(values.values()))
    return find(cursor.lastrowid)


def start(job_id):
    return _move("start", job_id, state="running")


def progress(job_id, report):
    return _move("progress", job_id, **_columns(report))


def finish(job_id, report, message):
    return _move("finish", job_id, state="done", message=message, finished_at=_now(), **_columns(report))


def fail(job_id, message):
    return _move("fail", job_id, state="failed", message=message, finished_at=_now())


def find(job_id):
    """The job's row, or None."""
    return db.get().execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()


def latest():
    """The newest jobs as rows, newest first."""
    return db.get().execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (LISTED,)).fetchall()


def unfinished():
    """All jobs that have not ended, as rows."""
    return db.get().execute("SELECT * FROM jobs WHERE state IN ('queued', 'running')").fetchall()


def public(row):
    """A job as visitors see it: in the API, in the streams, in the page."""
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


def public_list():
    """The newest jobs as visitors see them."""
    return [public(row) for row in latest()]


def _move(move, job_id, **values):
    """Make a move; the job's row after it, or None if its state does not allow it."""
    sets = ", ".join(f"{name} = ?" for name in values)
    states = MOVES[move]
    marks = ", ".join("?" * len(states))
    with db.get() as connection:
        changed = connection.execute(
            f"UPDATE jobs SET {sets}, revision = revision + 1 WHERE id = ? AND state IN ({marks})",
            (*values.values(), job_id, *states),
        ).rowcount
    return find(job_id) if changed else None


def _columns(report):
    return {
        "done": report.done,
        "rows": report.rows,
        "problems": report.problems,
        "notes": json.dumps(report.notes),
    }


def _now():
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
