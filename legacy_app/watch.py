"""Ends the jobs whose worker died, so that none stays "running" for ever.

Looked for before a process answers its first request, and from then on in a
thread, since the page of a dead worker's job may be served by another one. All
workers look; the one whose statement changes the row tells the streams.
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
    watching = set()  # the pid, once it watches: a fork starts anew

    @app.before_request
    def watch_from_now_on():
        if os.getpid() not in watching:
            watching.add(os.getpid())
            end_interrupted()
            if pause:
                threading.Thread(target=_watch, args=(app, pause), daemon=True).start()


def end_interrupted():
    """End all jobs whose process is gone."""
    for row in jobs.unfinished():
        if not process.is_alive(row["process"]):
            runner.end(jobs.fail(row["id"], INTERRUPTED))


def _watch(app, pause):
    while True:
        time.sleep(pause)
        try:
            with app.app_context():
                end_interrupted()
        except sqlite3.Error:
            app.logger.exception("could not look for interrupted jobs; trying again in %s s", pause)
