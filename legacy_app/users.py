"""The demo accounts, and the user who is logged in (by session).

There are no routes here; the forms are in pages.py. A real application would store the accounts in a table. The
passwords are hashed as they would be there.
"""

from __future__ import annotations

from collections import namedtuple

from flask import session
from werkzeug.security import check_password_hash

User = namedtuple("User", "id name password_hash")

ACCOUNTS = [
    User(1, "ada", "pbkdf2:sha256:50000$89xYwTo0$ca08839c411735b281213bb2ebd12d6304ca5bc75abd34c6a7ab11ee04862010"),
    User(2, "grace", "pbkdf2:sha256:50000$91JkhZD7$17a9aeb82b8427b19a2624a4fffbe413009dbb67ae98622e9b3a44b4145abe44"),
]


def init_app(app):
    app.context_processor(lambda: {"user": get_user()})


def find_account(name, password):
    """Return the user with this name and password, or None."""
    for user in ACCOUNTS:
        if user.name == name.strip().lower() and check_password_hash(user.password_hash, password):
            return user
    return None


def log_in(user):
    session.clear()
    session["user_id"] = user.id


def log_out():
    session.clear()


def get_user_id():
    """Return the id of the user who is logged in, or None."""
    user = get_user()
    return user.id if user else None


def get_user():
    """Return the user who is logged in, or None."""
    return next((user for user in ACCOUNTS if user.id == session.get("user_id")), None)
