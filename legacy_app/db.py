"""The SQLite database: one connection for each application context, in ``g``.

Opens, prepares and closes; knows no table but by its schema's file. Under
gevent SQLite blocks the whole worker, so whoever writes commits at once:
no sleep, no publishing, no network between a write and its commit.
"""

from __future__ import annotations

import os
import sqlite3
import time

from flask import current_app, g

BUSY_SECONDS = 5.0  # how long SQLite waits for another process's commit; those take milliseconds


def init_app(app):
    os.makedirs(os.path.dirname(app.config["LEGACY_APP_DATABASE"]), exist_ok=True)
    os.makedirs(app.config["LEGACY_APP_UPLOADS"], exist_ok=True)
    _prepare(app)
    app.teardown_appcontext(close)


def get():
    """This context's connection, opened at its first use."""
    if "db" not in g:
        g.db = _open(current_app.config["LEGACY_APP_DATABASE"])
    return g.db


def close(error=None):
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def _open(path):
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _prepare(app):
    """Create the tables; closed again, so that no connection crosses a fork."""
    connection = _open(app.config["LEGACY_APP_DATABASE"])
    try:
        _use_wal(connection)
        with app.open_resource("schema.sql") as file:
            connection.executescript(file.read().decode("utf-8"))
    finally:
        connection.close()


def _use_wal(connection):
    """Readers and the writer do not wait for each other.

    The first switch does not honour the busy timeout where several workers
    try it at once, so it is tried again.
    """
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.05)
