"""The SQLite database: one connection for each application context, in ``g``.

This file opens, prepares and closes connections; the tables are in schema.sql. Under gevent SQLite blocks the whole
worker, so code that writes must commit at once: no sleep, no publishing and no network between a write and its commit.
"""

from __future__ import annotations

import os
import sqlite3
import time

from flask import current_app, g

BUSY_SECONDS = 5.0  # how long SQLite waits for a commit of another process, which takes milliseconds


def init_app(app):
    os.makedirs(os.path.dirname(app.config["LEGACY_APP_DATABASE"]), exist_ok=True)
    os.makedirs(app.config["LEGACY_APP_UPLOADS"], exist_ok=True)
    _create_tables(app)
    app.teardown_appcontext(close_connection)


def get_connection():
    """Return this context's connection. It is opened at its first use."""
    if "db" not in g:
        g.db = _open_connection(current_app.config["LEGACY_APP_DATABASE"])
    return g.db


def close_connection(error=None):
    connection = g.pop("db", None)
    if connection is not None:
        connection.close()


def _open_connection(path):
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _create_tables(app):
    """Create the tables, and close the connection again, so that no connection is open at a fork."""
    connection = _open_connection(app.config["LEGACY_APP_DATABASE"])
    try:
        _use_wal(connection)
        with app.open_resource("schema.sql") as file:
            connection.executescript(file.read().decode("utf-8"))
    finally:
        connection.close()


def _use_wal(connection):
    """Switch to WAL mode, in which readers and the writer do not wait for each other.

    SQLite ignores the busy timeout if several workers do this at the same time, so the switch is repeated.
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
