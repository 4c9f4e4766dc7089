"""Checks the server side: the application, if there is one, and gunicorn's settings. No network."""

from __future__ import annotations

import os
from typing import Any, Iterator

from .gunicorn_checks import Settings, check_gunicorn, is_gevent
from .gunicorn_settings import DEFAULT_FILE, Unreadable, read_settings
from .report import FAIL, SKIPPED, Advice, Check


def run_server_checks(app: Any, state: Any, config: str | None) -> list[Check]:
    """Return all checks of an application and its server.

    :param app: None if there is no application here: then only gunicorn's settings are checked.
    :param state: what ``app.extensions`` holds; None if the application does not use the extension.
    :param config: gunicorn's configuration file; None means the one that gunicorn would choose.
    """
    settings, trouble = _read_gunicorn(config)
    checks: list[Check] = []
    if app is not None:
        from .application import check_application  # needs Flask

        checks += check_application(app, state, _get_server_user(settings))
    if settings is None:
        checks.append(trouble)
    else:
        checks += check_gunicorn(settings, None if state is None else state.options)
    if app is not None and trouble.status != FAIL:
        checks += _check_drivers(app, settings)
    return checks


def _read_gunicorn(config: str | None) -> tuple[Settings | None, Check]:
    """Return gunicorn's settings or, if they cannot be read, the check that says why."""
    if not config and not os.path.exists(DEFAULT_FILE) and not os.environ.get("GUNICORN_CMD_ARGS"):
        text = "Name the file with --config FILE. Put what is on gunicorn's command line into GUNICORN_CMD_ARGS."
        said = "no %s in this folder" % DEFAULT_FILE
        return None, Check("gunicorn", SKIPPED, said, (Advice(text),))
    try:
        return read_settings(config), Check("gunicorn", SKIPPED, "")
    except Unreadable as error:
        said = "%s: %s" % (config or DEFAULT_FILE, error)
        return None, Check("gunicorn", FAIL, said, (Advice("gunicorn would not start with it."),))


def _get_server_user(settings: Settings | None) -> int | None:
    """Return the user to whom gunicorn's workers change; None if they do not, or if that is not known."""
    user = settings.get("user") if settings else None
    return user if isinstance(user, int) and user != 0 else None


def _check_drivers(app: Any, settings: Settings | None) -> Iterator[Check]:
    from .application import check_drivers

    yield from check_drivers(app, settings is None or is_gevent(settings))
