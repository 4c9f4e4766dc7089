"""Checks the server side: the application's options, gunicorn's settings, what is installed. Makes no requests."""

from __future__ import annotations

import os
import time
from typing import Any, Iterator, Mapping

from flask import Flask

from ..errors import BrokerError
from ..state import ApplicationState
from ..util.file_limit import get_file_limit
from ..util.redact import without_password
from ..worker.capacity import SHARE
from ..worker.drain import DRAIN_SECONDS
from ..worker.server import HTTP2, SYNC
from . import drivers
from .gunicorn_settings import DEFAULT_FILE, Unreadable, read_settings
from .report import FAIL, OK, SKIPPED, WARN, Advice, Check

#: Idle time-outs of common hops, in seconds.
HOPS = {"HAProxy's samples": 30, "Heroku": 55, "nginx": 60, "AWS ALB": 60, "Cloudflare": 100}

#: A heartbeat may be late by this factor without reaching the hop's time-out.
MARGIN = 1.25

#: The line that configures gunicorn for flask_ssemux.
IMPORT = "from flask_ssemux.gunicorn_conf import *"

Settings = Mapping[str, Any]


def run_server_checks(app: Flask, state: ApplicationState, config: str | None) -> list[Check]:
    """Return all checks of an application and its server.

    :param config: gunicorn's configuration file; None means the one that gunicorn would choose.
    """
    checks = [
        _check_broker(state),
        *_check_heartbeat(state),
        *_check_secret_key(app),
        *_check_compression(app),
        *_check_streams(state),
    ]
    if not config and not os.path.exists(DEFAULT_FILE) and not os.environ.get("GUNICORN_CMD_ARGS"):
        text = "Name the file with --config FILE. Put what is on gunicorn's command line into GUNICORN_CMD_ARGS."
        said = "no %s in this folder" % DEFAULT_FILE
        return checks + [Check("gunicorn", SKIPPED, said, (Advice(text),)), *_check_drivers(app, True)]
    try:
        settings = read_settings(config)
    except Unreadable as error:
        text = "gunicorn would not start with it."
        return checks + [Check("gunicorn", FAIL, "%s: %s" % (config or DEFAULT_FILE, error), (Advice(text),))]
    for check in _GUNICORN_CHECKS:
        checks += check(settings, state)
    return checks + [*_check_drivers(app, _is_gevent(settings))]


# -- the application -----------------------------------------------------------


def _check_streams(state: ApplicationState) -> Iterator[Check]:
    """Check whether streams with URLs of their own have a rule that says who may read them."""
    for level, texts in ((FAIL, state.find_errors()), (WARN, state.find_warnings())):
        for text in texts:
            said, _, advice = text.partition(": ")
            yield Check("streams", level, said, (Advice(advice),))


def _check_broker(state: ApplicationState) -> Check:
    url = state.options.broker
    shown = without_password(url)
    if url.startswith("memory:"):
        said = (
            "memory: works in one process only: no other workers, no `flask ssemux publish`, no history after a restart"
        )
        return Check(
            "broker",
            WARN,
            said,
            (Advice("For everything but tests and small trials:", ("SSEMUX_BROKER = 'sqlite:'",)),),
        )
    path = getattr(state.worker.broker, "path", None)
    if path is not None and not os.path.exists(path):
        return _check_missing_file(path)
    began = time.monotonic()
    try:
        state.worker.broker.history.get_newest_cursor()
    except BrokerError as error:
        text = "Until it can be reached, clients are told to come back later."
        return Check("broker", FAIL, "%s cannot be reached: %s" % (shown, error), (Advice(text),))
    seconds = time.monotonic() - began
    measured = {"broker": shown, "seconds": round(seconds, 4)}
    owner = _find_other_owner(path)
    if owner is not None:
        text = "Run the doctor, and everything that publishes, as the user who runs the application."
        return Check("broker", WARN, "%s belongs to another user (%d)" % (path, owner), (Advice(text),), measured)
    return Check("broker", OK, "%s answered in %.0f ms" % (shown, seconds * 1000), (), measured)


def _find_other_owner(path: str | None) -> int | None:
    """Return the user that a file belongs to; None if it is this user, or if the system has no such users."""
    if path is None or not hasattr(os, "getuid"):
        return None
    owner = os.stat(path).st_uid
    return None if owner == os.getuid() else owner


def _check_missing_file(path: str) -> Check:
    """Check a file that does not exist yet. It is not created here: it would belong to this user."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("broker", OK, "%s is created by the first stream or event" % path)
    text = "Let the application's user write to this folder, or move the file:"
    fix = Advice(text, ("SSEMUX_BROKER = 'sqlite:////var/lib/shop/ssemux.sqlite3'",))
    return Check("broker", FAIL, "%s cannot be created: this user may not write to %s" % (path, folder), (fix,))


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
        text = "Without it `flask ssemux doctor URL` cannot request timed frames from a stream."
        yield Check("secret key", WARN, "the application has no SECRET_KEY", (Advice(text),))


def _check_compression(app: Flask) -> Iterator[Check]:
    types = app.config.get("COMPRESS_MIMETYPES")
    if types is None:
        return
    if "text/event-stream" in types:
        text = "Flask-Compress collects a block before it sends anything: remove text/event-stream."
        yield Check("compression", FAIL, "COMPRESS_MIMETYPES contains text/event-stream", (Advice(text),))
    else:
        yield Check("compression", OK, "Flask-Compress does not compress streams")


def _check_drivers(app: Flask, is_gevent: bool) -> Iterator[Check]:
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


# -- gunicorn ------------------------------------------------------------------


def _is_gevent(settings: Settings) -> bool:
    return "gevent" in settings["worker_class"]


def _check_worker_class(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    kind = settings["worker_class"]
    measured = {"worker_class": kind}
    fix = Advice("In gunicorn's configuration:", (IMPORT,))
    if _is_gevent(settings):
        yield Check("worker class", OK, kind, (), measured)
    elif kind == "sync":
        yield Check("worker class", FAIL, "%s: %s" % (kind, SYNC.partition(":")[0]), (fix,), measured)
    elif kind == "gthread":
        said = "gthread: each stream needs a thread, and a worker has %d" % settings["threads"]
        yield Check("worker class", WARN, said, (fix,), measured)
    else:
        yield Check("worker class", WARN, "%s: not tested with flask_ssemux" % kind, (fix,), measured)


def _check_patching(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    if not _is_gevent(settings):
        return
    if settings["preload_app"] and not settings["patched"]:
        text = (
            "gunicorn patches in each worker, after the application imported modules (ssl, drivers) and created locks "
            "in the master process. Patch first, at the top of the configuration:"
        )
        lines = (IMPORT, "# or: from gevent import monkey; monkey.patch_all()")
        said = (
            "preload_app is set, and the configuration does not patch: gevent patches after the application is loaded"
        )
        measured = {"early": False, "preload_app": True}
        yield Check("patching", WARN, said, (Advice(text, lines),), measured)
    else:
        said = (
            "by the configuration, before all other imports" if settings["patched"] else "by gunicorn, in each worker"
        )
        yield Check("patching", OK, said, (), {"early": settings["patched"], "preload_app": settings["preload_app"]})


def _check_workers(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    count = settings["workers"]
    measured = {"workers": count}
    if count > 1 and state.options.broker.startswith("memory:"):
        said = (
            "%d workers with SSEMUX_BROKER='memory:': an event reaches only the clients of the worker that published it"
            % count
        )
        fix = Advice("Either:", ("SSEMUX_BROKER = 'sqlite:'", "workers = 1"))
        yield Check("workers", FAIL, said, (fix,), measured)
    else:
        yield Check("workers", OK, "%d" % count, (), measured)


def _check_connections(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    slots = settings["threads"] if settings["worker_class"] == "gthread" else settings["worker_connections"]
    files = get_file_limit()
    asked = state.options.max_streams
    streams = asked or int(SHARE * min(slots, files))
    measured = {"worker_connections": slots, "files": files, "streams": streams}
    said = "%d requests at a time for each worker, %d open files: room for %d streams" % (slots, files, streams)
    fixes = []
    if slots > files:
        text = "A worker may not open that many files. In the service's unit (systemd), or before gunicorn starts:"
        fixes.append(Advice(text, ("LimitNOFILE=%d" % (slots * 2), "ulimit -n %d" % (slots * 2))))
    if asked and asked > min(slots, files):
        text = "SSEMUX_MAX_STREAMS is more than there is room for: remove it, or raise the limit."
        fixes.append(Advice(text))
    yield Check("connections", WARN if fixes else OK, said, tuple(fixes), measured)


def _check_max_requests(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    most, jitter = settings["max_requests"], settings["max_requests_jitter"]
    measured = {"max_requests": most, "max_requests_jitter": jitter}
    if not most:
        return
    said = (
        "a worker stops after %d requests: its streams end cleanly, and their clients come back and miss nothing" % most
    )
    if not jitter and settings["workers"] > 1:
        text = "All workers reach this number at about the same time; spread them:"
        fix = (Advice(text, ("max_requests_jitter = %d" % max(1, most // 5),)),)
        yield Check("max_requests", WARN, said, fix, measured)
    else:
        yield Check("max_requests", OK, said, (), measured)


def _check_time_outs(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    names = ("timeout", "graceful_timeout", "keepalive")
    measured = {name: settings[name] for name in names}
    said = ", ".join("%s %g s" % (name, settings[name]) for name in names)
    fixes = []
    if settings["graceful_timeout"] <= DRAIN_SECONDS:
        text = (
            "A worker that stops gives its clients %g s to receive the end of their streams; gunicorn must wait longer:"
            % DRAIN_SECONDS
        )
        fixes.append(Advice(text, ("graceful_timeout = 20",)))
    if settings["timeout"] == 0:
        text = "With timeout = 0 gunicorn never replaces a worker that hangs:"
        fixes.append(Advice(text, ("timeout = 60",)))
    if _is_gevent(settings) and not settings["keepalive"]:
        text = "keepalive also ends incomplete requests; with 0 each of them keeps its connection forever:"
        fixes.append(Advice(text, ("keepalive = 5",)))
    yield Check("time-outs", WARN if fixes else OK, said, tuple(fixes), measured)


def _check_protocols(settings: Settings, state: ApplicationState) -> Iterator[Check]:
    if "h2" in (settings.get("http_protocols") or ()):
        fix = (Advice(HTTP2[0].upper() + HTTP2[1:] + ":", ('http_protocols = "h1"',)),)
        yield Check("protocol", FAIL, "HTTP/2 ends in gunicorn", fix)
    elif settings.get("certfile"):
        yield Check(
            "protocol", OK, "TLS ends in gunicorn: streams use the generator transport, with a greenlet for each"
        )


_GUNICORN_CHECKS = (
    _check_worker_class, _check_patching, _check_workers, _check_connections, _check_max_requests, _check_time_outs,
    _check_protocols,
)  # fmt: skip
