"""Ends the jobs whose worker died, so that none stays "running" forever.

Each process looks for such jobs before it answers its first request, and from then on in a thread, because another
worker may serve the page of a dead worker's job. All workers look. The one whose statement changes the row publishes
the change.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time

from . import jobs, process, runner

INTERRUPTED = "interrupted: the server stopped while it checked this file; please send it again"


def init_app(app):
    pause = app.config["LEGACY_APP_WATCH_SECONDS"]
    watching = set()  # this process's pid once it watches; a forked process starts a watch of its own

    @app.before_request
    def watch_from_now_on():
        if os.getpid() not in watching:
            watching.add(os.getpid())
            end_interrupted()
            if pause:
                threading.Thread(target=_watch_jobs, args=(app, pause), daemon=True).start()


def end_interrupted():
    """End all jobs whose process has ended."""
    for row in jobs.find_unfinished_jobs():
        if not process.is_alive(row["process"]):
            runner.end_job(jobs.fail_job(row["id"], INTERRUPTED))


def _watch_jobs(app, pause):
    while True:
        time.sleep(pause)
        try:
            with app.app_context():
                end_interrupted()
        except sqlite3.Error:
            app.logger.exception("could not look for interrupted jobs; trying again in %s s", pause)
