"""The JSON API: list jobs, submit one, look one up. It is open to all visitors.

Errors are ``{"error": "<message>"}``; see failures.py.
"""

from __future__ import annotations

from flask import Blueprint, abort, jsonify, url_for

from . import jobs, runner, uploads, users

bp = Blueprint("api", __name__, url_prefix="/api")


@bp.route("/jobs", methods=["GET"])
def list_jobs():
    return jsonify(jobs.list_public_jobs())


@bp.route("/jobs", methods=["POST"])
def create_job():
    row = runner.submit_job(uploads.save_upload(), users.get_user())
    return jsonify(jobs.as_public(row)), 201, {"Location": url_for("api.show_job", job_id=row["id"])}


@bp.route("/jobs/<int:job_id>", methods=["GET"])
def show_job(job_id):
    row = jobs.find_job(job_id)
    if row is None:
        abort(404, f"There is no job {job_id}.")
    return jsonify(jobs.as_public(row))
