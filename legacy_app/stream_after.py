"""Step 2 of the migration: the application publishes changes of jobs, instead of polling for them.

The events and their data are the same as in stream_before.py. This file contains everything that the application
defines for flask_ssemux: who the user is, who may read the jobs, which events a new client gets first, and what is
published when a job changes.
"""

from __future__ import annotations

from flask import Blueprint, current_app

import flask_ssemux
from flask_ssemux.errors import BrokerError

from . import jobs, users

#: The old view was on a blueprint too: functions that guard a blueprint (``before_request``) also guard its streams.
bp = Blueprint("stream_after", __name__)


def init_app(app):
    """Set flask_ssemux up. Return the extension's object, to which other files add streams."""
    mux = flask_ssemux.SSEMux(app)

    @mux.identify
    def identify_user():
        return users.get_user_id()

    @mux.authorize("jobs")
    def may_read(user_id):
        return True  # the list is open to all visitors; the rule applies to the old URL and to /events

    @mux.snapshot("jobs")
    def current_list():
        yield "jobs", jobs.list_public_jobs()

    mux.add_stream("/api/jobs/stream", channels=["jobs"], endpoint="stream", blueprint=bp)
    app.register_blueprint(bp)
    return mux


def announce_job(row):
    """Publish a change of a job. Call this after the commit; it does nothing for None."""
    if row is not None:
        _publish_safely(flask_ssemux.publish, "jobs", jobs.as_public(row), event="job")


def notify_owner(row):
    """Send a notice to the job's owner that the job has ended."""
    if row["user_id"] is not None:
        notice = {"job": row["id"], "name": row["name"], "state": row["state"], "message": row["message"]}
        _publish_safely(flask_ssemux.send_to_user, row["user_id"], notice, event="notice")


def get_cursor():
    """Return the current cursor, for the page that is rendered, or "" if the broker cannot be reached."""
    try:
        return flask_ssemux.cursor()
    except BrokerError:
        return ""


def _publish_safely(publish, *args, **kwargs):
    """Publish an event. If that fails, log it, so that the job continues."""
    try:
        publish(*args, **kwargs)
    except BrokerError as error:
        current_app.logger.warning("a change of a job was not published: %s", error)
