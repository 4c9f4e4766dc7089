"""The JSON API: list jobs, submit one, look one up. It is open to all visitors.

Errors are ``{"error": "<message>"}``; see failures.py.
"""

from __future__ import annotations

from flask import Blueprint, abort, jsonify, url_for

import flask_ssemux

from . import jobs, runner, uploads, users

bp = Blueprint("api", __name__, url_prefix="/api")


@bp.route("/jobs", methods=["GET"])
def list_jobs():
    return jsonify(jobs.list_public_jobs())


@bp.route("/jobs", methods=["POST"])
def create_job():
    """Submit a file. ``run`` is the URL where the visitor, and nobody else, reads the check's steps."""
    row, run = runner.submit_job(uploads.save_upload(), users.get_user())
    answer = {**jobs.as_public(row), "run": run.url}
    return jsonify(answer), 201, {"Location": url_for("api.show_job", job_id=row["id"])}


@bp.route("/runs/<run_id>", methods=["DELETE"])
def cancel_run(run_id):
    """Cancel a check: its owner's, or one that a visitor without an account has started, by its id, which is secret."""
    run = flask_ssemux.get_run(run_id)
    user_id = users.get_user_id()
    if run is None or run.owner != (None if user_id is None else str(user_id)) or not run.cancel():
        abort(404, "There is no such check of yours that runs.")
    return "", 204


@bp.route("/jobs/<int:job_id>", methods=["GET"])
def show_job(job_id):
    row = jobs.find_job(job_id)
    if row is None:
        abort(404, f"There is no job {job_id}.")
    return jsonify(jobs.as_public(row))
