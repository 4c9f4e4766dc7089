"""Checks an application: its options, its URLs, its logging, what it uses. Its one request stays within the process.

Checks that find nothing wrong are reported only if they say something of use.
"""

from __future__ import annotations

import logging
from typing import Iterator

from flask import Flask

from ..state import ApplicationState
from ..util import own_logger
from . import drivers
from .broker import check_broker
from .report import FAIL, OK, WARN, Advice, Check

#: Idle time-outs of common hops, in seconds.
HOPS = {"HAProxy's samples": 30, "Heroku": 55, "nginx": 60, "AWS ALB": 60, "Cloudflare": 100}

#: A heartbeat may be late by this factor without reaching the hop's time-out.
MARGIN = 1.25


def check_application(app: Flask, state: ApplicationState | None, server_user: int | None) -> Iterator[Check]:
    """Yield the checks of an application.

    :param state: None if the application does not use the extension.
    :param server_user: the number of the user as whom gunicorn's configuration runs the workers; None if unknown.
    """
    if state is None:
        text = "Where the application is created (the views that stream need it, too):"
        said = "flask_ssemux is not set up for %r, so only its server is checked" % app.name
        yield Check("set-up", WARN, said, (Advice(text, ("flask_ssemux.init_app(app)",)),))
    else:
        yield check_broker(state, server_user)
        yield from _check_heartbeat(state)
    yield from _check_secret_key(app)
    yield from _check_compression(app)
    if state is not None:
        yield from _check_streams(state)
        yield from _check_url(app, state)
    yield from _check_logging()


def _check_streams(state: ApplicationState) -> Iterator[Check]:
    """Check whether streams with URLs of their own have a rule that says who may read them."""
    for level, texts in ((FAIL, state.find_errors()), (WARN, state.find_warnings())):
        for text in texts:
            said, _, advice = text.partition(": ")
            yield Check("streams", level, said, (Advice(advice),))


def _check_url(app: Flask, state: ApplicationState) -> Iterator[Check]:
    """Ask the application, with all its middleware, for the stream's URL. OPTIONS calls no view, so no stream opens."""
    url = state.options.url
    if url is None:
        return
    status = _request_status(app, url)
    if status == 404:
        text = (
            "Does a middleware mount the application below a prefix (DispatcherMiddleware), or does a function before "
            "the request refuse it? The browser needs the URL with the prefix: url_for('ssemux.events')."
        )
        yield Check("url", FAIL, "the application answers GET %s (SSEMUX_URL) with 404" % url, (Advice(text),))


def _request_status(app: Flask, url: str) -> int | None:
    """Return the status of the application's answer; None if it raised an error."""
    try:
        return int(app.test_client().options(url).status_code)
    except Exception:  # of the application: a running server logs it
        return None


def _check_heartbeat(state: ApplicationState) -> Iterator[Check]:
    heartbeat, timeout = state.options.heartbeat, state.options.client_timeout
    short = ["%s (%d s)" % (hop, seconds) for hop, seconds in HOPS.items() if heartbeat * MARGIN > seconds]
    measured = {"heartbeat": heartbeat, "client_timeout": timeout}
    said = "every %g s; clients wait %g s" % (heartbeat, timeout)
    if short:
        text = "A shorter interval is safe with all of them:"
        said += "; too long for the idle time-out of %s" % ", ".join(short)
        yield Check("heartbeat", WARN, said, (Advice(text, ("SSEMUX_HEARTBEAT = 20",)),), measured)
    else:
        yield Check("heartbeat", OK, said + "; short enough for all common hops", (), measured)


def _check_secret_key(app: Flask) -> Iterator[Check]:
    if not app.secret_key:
        status = FAIL if hasattr(app, "login_manager") else WARN
        text = (
            "Sessions, Flask-Login, tickets (flask_ssemux.ticket) and the timed frames of `flask ssemux doctor URL` "
            "need it, the same in all workers. Make one, once:"
        )
        lines = ("python3 -c 'import secrets; print(secrets.token_hex())'", "app.config['SECRET_KEY'] = '…'")
        yield Check("secret key", status, "the application has no SECRET_KEY", (Advice(text, lines),))


def _check_compression(app: Flask) -> Iterator[Check]:
    types = app.config.get("COMPRESS_MIMETYPES")
    if types is None:
        return
    if "text/event-stream" in types:
        text = "Flask-Compress collects a block before it sends anything: remove text/event-stream."
        yield Check("compression", FAIL, "COMPRESS_MIMETYPES contains text/event-stream", (Advice(text),))
    else:
        yield Check("compression", OK, "Flask-Compress does not compress streams")


def _check_logging() -> Iterator[Check]:
    """Check whether the warnings of the package appear in the log."""
    log = own_logger.log
    if own_logger.was_disabled():
        text = "Where the application configures logging (disable_existing_loggers disables every logger that exists):"
        lines = ("'disable_existing_loggers': False", "fileConfig(file, disable_existing_loggers=False)")
        said = "the application's logging configuration disabled the logger 'flask_ssemux'; it was enabled again"
        yield Check("logging", WARN, said, (Advice(text, lines),))
    elif not log.isEnabledFor(logging.WARNING):
        text = "Let the logger log warnings: they say why streams end or are refused."
        said = "warnings of the logger 'flask_ssemux' are not logged: its level is %s" % logging.getLevelName(
            max(log.getEffectiveLevel(), log.manager.disable)
        )
        line = "logging.getLogger('flask_ssemux').setLevel('WARNING')"
        yield Check("logging", WARN, said, (Advice(text, (line,)),))


def check_drivers(app: Flask, is_gevent: bool) -> Iterator[Check]:
    if not is_gevent:
        return
    urls = list(drivers.get_database_urls(app.config))
    found = (
        [driver for driver in map(drivers.find_blocking_driver, urls) if driver]
        if urls
        else drivers.find_installed_drivers()
    )
    bad = [driver for driver in dict.fromkeys(found) if not drivers.is_made_cooperative(driver)]
    measured = {"drivers": [driver.module for driver in bad]}
    if bad:
        names = ", ".join(driver.module for driver in bad)
        said = "%s %s and blocks gevent's loop: no heartbeats are sent while it waits" % (
            names,
            "is used" if urls else "is installed (is it used?)",
        )
        yield Check("database", WARN, said, tuple(driver.fix for driver in bad), measured)
    else:
        yield Check("database", OK, "no driver that blocks gevent's loop", (), measured)
