"""Step 2 of the migration: the stream of jobs, published instead of polled.

Same events and data as stream_before.py, and all that the application says to
flask_ssemux: who a user is, who may read the jobs, what a new client
is shown first, and what is published when a job changes.
"""

from __future__ import annotations

from flask import Blueprint, current_app

import flask_ssemux
from flask_ssemux.errors import BrokerError

from . import jobs, users

#: The old view was a blueprint's, too: what guards a blueprint (``before_request``) guards the streams on it.
bp = Blueprint("stream_after", __name__)


def init_app(app):
    mux = flask_ssemux.SSEMux(app)

    @mux.identify
    def who():
        return users.current_id()

    @mux.authorize("jobs")
    def may_read(user_id):
        return True  # the list is open to all visitors; the rule is asked for the old URL and for /events alike

    @mux.snapshot("jobs")
    def current_list():
        yield "jobs", jobs.public_list()

    mux.add_stream("/api/jobs/stream", channels=["jobs"], endpoint="stream", blueprint=bp)
    app.register_blueprint(bp)


def announce(row):
    """Tell everyone that a job changed. Call it after the commit; does nothing for None."""
    if row is not None:
        _tell(flask_ssemux.publish, "jobs", jobs.public(row), event="job")


def notify(row):
    """Tell the job's owner that it has ended."""
    if row["user_id"] is not None:
        notice = {"job": row["id"], "name": row["name"], "state": row["state"], "message": row["message"]}
        _tell(flask_ssemux.send_to_user, row["user_id"], notice, event="notice")


def cursor():
    """The present place, at which a page is rendered; "" if nobody can tell."""
    try:
        return flask_ssemux.cursor()
    except BrokerError:
        return ""


def _tell(publish, *args, **kwargs):
    """A job goes on even when nobody can be told of it."""
    try:
        publish(*args, **kwargs)
    except BrokerError as error:
        current_app.logger.warning("a change of a job was not published: %s", error)
