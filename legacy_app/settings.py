"""The application's settings: their names, their defaults, and where they come from.

The mapping given to ``create_app`` takes precedence over the environment (with the same names), and the environment
over the default. Invalid values are refused here, at start. No other file reads the environment.
"""

from __future__ import annotations

import os
import secrets

DEFAULTS = {
    # LEGACY_APP_INSTANCE, the instance folder, is read before these; default: Flask's instance folder
    "LEGACY_APP_DATABASE": None,  # path; default: jobs.sqlite3 in the instance folder
    "LEGACY_APP_UPLOADS": None,  # folder; default: beside the database, "<database>-uploads"
    "LEGACY_APP_SECRET_KEY": None,  # default: a random key, kept in the instance folder
    "LEGACY_APP_STEP_SECONDS": 0.2,  # pause after each step, so that a person sees the progress
    "LEGACY_APP_STEPS": 30,  # steps of a job at most, whatever the size of its file
    "LEGACY_APP_JOBS_AT_ONCE": 4,  # jobs that run at the same time in each worker; the others stay queued
    "LEGACY_APP_WATCH_SECONDS": 2.0,  # how often to look for jobs whose worker died; 0: only once
    "LEGACY_APP_MAX_BYTES": 16 * 1024 * 1024,  # the maximum size of an upload, including the form
    "LEGACY_APP_PROXY_PORT": None,  # the port of a proxy before this server, for the page /demo; default: no proxy
}


def get_instance_path(config):
    """Return ``LEGACY_APP_INSTANCE`` as an absolute path, or None for Flask's instance folder."""
    path = (config or {}).get("LEGACY_APP_INSTANCE") or os.environ.get("LEGACY_APP_INSTANCE")
    return os.path.abspath(str(path)) if path else None


def load_settings(app, config):
    """Put all settings into ``app.config`` and create the instance folder."""
    os.makedirs(app.instance_path, exist_ok=True)
    config = dict(config or {})
    app.config.update(config)
    for name, default in DEFAULTS.items():
        value = config.get(name, os.environ.get(name) or default)
        app.config[name] = value if default is None else _parse_number(name, value, type(default))
    _fill_paths(app)
    _fill_flask(app, config)


def _parse_number(name, value, kind):
    """Return the value as a number of this kind: an integer of at least 1, or a float of at least 0."""
    lowest = 1 if kind is int else 0
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = -1
    if not lowest <= number < float("inf"):
        raise ValueError(f"{name} is {value!r}; it must be a number of at least {lowest}")
    return number


def _fill_paths(app):
    database = app.config["LEGACY_APP_DATABASE"] or os.path.join(app.instance_path, "jobs.sqlite3")
    database = os.path.abspath(str(database))
    uploads = app.config["LEGACY_APP_UPLOADS"] or database + "-uploads"
    app.config["LEGACY_APP_DATABASE"] = database
    app.config["LEGACY_APP_UPLOADS"] = os.path.abspath(str(uploads))


def _fill_flask(app, config):
    """Set Flask's own settings. The cookie's setting protects the forms.

    With ``SameSite=Lax`` a browser sends no session cookie with a POST request from another site. So another site
    cannot post in a user's name, and the forms need no CSRF token.
    """
    app.config["MAX_CONTENT_LENGTH"] = config.get("MAX_CONTENT_LENGTH", app.config["LEGACY_APP_MAX_BYTES"])
    app.config["SESSION_COOKIE_SAMESITE"] = config.get("SESSION_COOKIE_SAMESITE", "Lax")
    if not config.get("SECRET_KEY"):
        app.config["SECRET_KEY"] = app.config["LEGACY_APP_SECRET_KEY"] or _get_stored_key(app.instance_path)


def _get_stored_key(folder):
    """Return the key in the instance folder. It is the same for all workers and after a restart.

    Several workers may get here at the same time. The first one that links its file wins, and all of them
    read that file.
    """
    path = os.path.join(folder, "secret_key")
    if not os.path.exists(path):
        own = f"{path}.{os.getpid()}"
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            os.link(own, path)
        except FileExistsError:
            pass
        os.unlink(own)
    with open(path) as file:
        return file.read()
