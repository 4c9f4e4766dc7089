"""SQLite through Flask-SQLAlchemy for the test applications. The pool is so small that a connection that is not
returned is noticed.
"""

from __future__ import annotations

import fcntl
import os

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.pool import QueuePool


def connect(app: Flask, db: SQLAlchemy, pool_size: int) -> None:
    """Set up the database and its tables in the application's instance folder."""
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///%s/users.sqlite3" % app.instance_path
    app.config["SQLALCHEMY_TRACK_MODIFICATIONS"] = False
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "poolclass": QueuePool,
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": 2.0,
    }
    db.init_app(app)
    os.makedirs(app.instance_path, exist_ok=True)
    with app.app_context(), open(os.path.join(app.instance_path, "tables.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of workers that start together each would make them
        db.create_all()
