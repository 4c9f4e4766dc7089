"""The checks of the server side: the application's options, gunicorn's settings, what is installed. No requests."""

from __future__ import annotations

import os
import resource
import time
from typing import Any, Iterator, Mapping

from flask import Flask

from ..errors import BrokerError
from ..state import ApplicationState
from ..util.redact import without_password
from ..worker.capacity import SHARE
from ..worker.server import HTTP2, SYNC
from ..worker.worker import DRAIN
from . import drivers
from .gunicorn_settings import DEFAULT_FILE, Unreadable, read
from .report import FAIL, OK, SKIPPED, WARN, Advice, Check

#: Idle time-outs of common hops, in seconds.
HOPS = {"HAProxy's samples": 30, "Heroku": 55, "nginx": 60, "AWS ALB": 60, "Cloudflare": 100}

#: A heartbeat may be late, or one lost, and the hop is still content.
MARGIN = 1.25

#: gunicorn's settings in one line.
IMPORT = "from flask_ssemux.gunicorn_conf import *"

Settings = Mapping[str, Any]


def server_checks(app: Flask, service: ApplicationState, config: str | None) -> list[Check]:
    """All checks of an application as it is here.

    :param config: gunicorn's configuration file; None is the one that gunicorn would take.
    """
    checks = [_broker(service), *_heartbeat(service), *_secret(app), *_compress(app), *_streams(service)]
    if not config and not os.path.exists(DEFAULT_FILE) and not os.environ.get("GUNICORN_CMD_ARGS"):
        text = "Say where it is by --config FILE; what is on gunicorn's command line goes into GUNICORN_CMD_ARGS."
        said = "no %s in this folder" % DEFAULT_FILE
        return checks + [Check("gunicorn", SKIPPED, said, (Advice(text),)), *_drivers(app, True)]
    try:
        settings = read(config)
    except Unreadable as error:
        text = "gunicorn would not start with it."
        return checks + [Check("gunicorn", FAIL, "%s: %s" % (config or DEFAULT_FILE, error), (Advice(text),))]
    for check in (_worker_class, _patching, _workers, _connections, _recycling, _times, _protocols):
        checks += check(settings, service)
    return checks + [*_drivers(app, _is_gevent(settings))]


# -- the application -----------------------------------------------------------


def _streams(service: ApplicationState) -> Iterator[Check]:
    """Of streams at URLs of their own: whether somebody said who may read them."""
    for level, texts in ((FAIL, service.troubles()), (WARN, service.doubts())):
        for text in texts:
            said, _, advice = text.partition(": ")
            yield Check("streams", level, said, (Advice(advice),))


def _broker(service: ApplicationState) -> Check:
    url = service.options.broker
    shown = without_password(url)
    if url.startswith("memory:"):
        said = "memory: lives in one process: no other worker, no `flask ssemux publish`, no history after a restart"
        return Check("broker", WARN, said, (Advice("For more than tests and toys:", ("SSEMUX_BROKER = 'sqlite:'",)),))
    path = getattr(service._broker(), "path", None)
    if path is not None and not os.path.exists(path):
        return _file_to_be(path)
    began = time.monotonic()
    try:
        service._broker().head()
    except BrokerError as error:
        text = "Streams open as soon as it can be reached; until then clients are told to come back."
        return Check("broker", FAIL, "%s cannot be reached: %s" % (shown, error), (Advice(text),))
    seconds = time.monotonic() - began
    measured = {"broker": shown, "seconds": round(seconds, 4)}
    owner = os.stat(path).st_uid if path is not None else os.getuid()
    if owner != os.getuid():
        text = "Run the doctor, and everything that publishes, as the user who runs the application."
        return Check("broker", WARN, "%s belongs to another user (%d)" % (path, owner), (Advice(text),), measured)
    return Check("broker", OK, "%s answered in %.0f ms" % (shown, seconds * 1000), (), measured)


def _file_to_be(path: str) -> Check:
    """It is not made here: it would be this user's, not the application's."""
    folder = os.path.dirname(path)
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    if os.access(folder, os.W_OK | os.X_OK):
        return Check("broker", OK, "%s is made by the first stream or event" % path)
    text = "Let the application's user write there, or put the file elsewhere:"
    fix = Advice(text, ("SSEMUX_BROKER = 'sqlite:////var/lib/shop/ssemux.sqlite3'",))
    return Check("broker", FAIL, "%s cannot be made: this user may not write to %s" % (path, folder), (fix,))


def _heartbeat(service: ApplicationState) -> Iterator[Check]:
    heartbeat, timeout = service.options.heartbeat, service.options.client_timeout
    short = ["%s (%d s)" % (hop, seconds) for hop, seconds in HOPS.items() if heartbeat * MARGIN > seconds]
    measured = {"heartbeat": heartbeat, "client_timeout": timeout}
    said = "every %g s; clients wait %g s" % (heartbeat, timeout)
    if short:
        text = "Shorter is safe with all of them:"
        said += "; too seldom for the idle time-out of %s" % ", ".join(short)
        yield Check("heartbeat", WARN, said, (Advice(text, ("SSEMUX_HEARTBEAT = 20",)),), measured)
    else:
        yield Check("heartbeat", OK, said + "; often enough for every common hop", (), measured)


def _secret(app: Flask) -> Iterator[Check]:
    if not app.secret_key:
        text = "Without it `flask ssemux doctor URL` cannot ask a stream for timed frames."
        yield Check("secret key", WARN, "the application has no SECRET_KEY", (Advice(text),))


def _compress(app: Flask) -> Iterator[Check]:
    types = app.config.get("COMPRESS_MIMETYPES")
    if types is None:
        return
    if "text/event-stream" in types:
        text = "Flask-Compress collects a block before it sends anything: take text/event-stream out of it."
        yield Check("compression", FAIL, "COMPRESS_MIMETYPES has text/event-stream", (Advice(text),))
    else:
        yield Check("compression", OK, "Flask-Compress leaves streams alone")


def _drivers(app: Flask, is_gevent: bool) -> Iterator[Check]:
    if not is_gevent:
        return
    urls = list(drivers.urls_of(app.config))
    found = [driver for driver in map(drivers.blocking, urls) if driver] if urls else drivers.installed()
    bad = [driver for driver in dict.fromkeys(found) if not drivers.is_mended(driver)]
    measured = {"drivers": [driver.module for driver in bad]}
    if bad:
        names = ", ".join(driver.module for driver in bad)
        said = "%s %s, and blocks gevent's loop: heartbeats stop while it waits" % (
            names,
            "is used" if urls else "is installed (is it used?)",
        )
        yield Check("database", WARN, said, tuple(driver.fix for driver in bad), measured)
    else:
        yield Check("database", OK, "no driver that blocks gevent's loop", (), measured)


# -- gunicorn ------------------------------------------------------------------


def _is_gevent(settings: Settings) -> bool:
    return "gevent" in settings["worker_class"]


def _worker_class(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    kind = settings["worker_class"]
    measured = {"worker_class": kind}
    fix = Advice("In gunicorn's configuration (what its command line says goes into GUNICORN_CMD_ARGS):", (IMPORT,))
    if _is_gevent(settings):
        yield Check("worker class", OK, kind, (), measured)
    elif kind == "sync":
        yield Check("worker class", FAIL, "%s: %s" % (kind, SYNC.partition(":")[0]), (fix,), measured)
    elif kind == "gthread":
        said = "gthread: each stream takes a thread, so a worker has %d" % settings["threads"]
        yield Check("worker class", WARN, said, (fix,), measured)
    else:
        yield Check("worker class", WARN, "%s: not tested with flask_ssemux" % kind, (fix,), measured)


def _patching(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    if not _is_gevent(settings):
        return
    if settings["preload_app"] and not settings["patched"]:
        text = (
            "gunicorn patches in each worker; what the application imports (ssl, drivers) and makes (locks) in the "
            "master comes before. Patch first, on top of the configuration:"
        )
        lines = (IMPORT, "# or: from gevent import monkey; monkey.patch_all()")
        said = "preload_app, and the configuration does not patch: gevent's patches come after the application"
        measured = {"early": False, "preload_app": True}
        yield Check("patching", WARN, said, (Advice(text, lines),), measured)
    else:
        said = "by the configuration, before all else" if settings["patched"] else "by gunicorn, in each worker"
        yield Check("patching", OK, said, (), {"early": settings["patched"], "preload_app": settings["preload_app"]})


def _workers(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    count = settings["workers"]
    measured = {"workers": count}
    if count > 1 and service.options.broker.startswith("memory:"):
        said = "%d workers, and SSEMUX_BROKER='memory:': an event reaches only its own worker's clients" % count
        fix = Advice("Either:", ("SSEMUX_BROKER = 'sqlite:'", "workers = 1"))
        yield Check("workers", FAIL, said, (fix,), measured)
    else:
        yield Check("workers", OK, "%d" % count, (), measured)


def _connections(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    slots = settings["threads"] if settings["worker_class"] == "gthread" else settings["worker_connections"]
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 1_000_000 if files == resource.RLIM_INFINITY else files
    asked = service.options.max_streams
    streams = asked or int(SHARE * min(slots, files))
    measured = {"worker_connections": slots, "files": files, "streams": streams}
    said = "%d for each worker, %d open files: room for %d streams" % (slots, files, streams)
    fixes = []
    if slots > files:
        text = "A worker may not open as many files. In the service's unit (systemd), or before gunicorn starts:"
        fixes.append(Advice(text, ("LimitNOFILE=%d" % (slots * 2), "ulimit -n %d" % (slots * 2))))
    if asked and asked > min(slots, files):
        text = "SSEMUX_MAX_STREAMS is more than there is room for: leave it out, or raise what limits it."
        fixes.append(Advice(text))
    yield Check("connections", WARN if fixes else OK, said, tuple(fixes), measured)


def _recycling(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    most, jitter = settings["max_requests"], settings["max_requests_jitter"]
    measured = {"max_requests": most, "max_requests_jitter": jitter}
    if not most:
        return
    said = "a worker leaves after %d requests: its streams end cleanly, their clients return and miss nothing" % most
    if not jitter and settings["workers"] > 1:
        text = "All workers come to it at about the same time; spread them:"
        fix = (Advice(text, ("max_requests_jitter = %d" % max(1, most // 5),)),)
        yield Check("max_requests", WARN, said, fix, measured)
    else:
        yield Check("max_requests", OK, said, (), measured)


def _times(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    names = ("timeout", "graceful_timeout", "keepalive")
    measured = {name: settings[name] for name in names}
    said = ", ".join("%s %g s" % (name, settings[name]) for name in names)
    fixes = []
    if settings["graceful_timeout"] <= DRAIN:
        text = "A stopping worker gives clients %g s to take their streams' end; gunicorn must wait longer:" % DRAIN
        fixes.append(Advice(text, ("graceful_timeout = 20",)))
    if settings["timeout"] == 0:
        text = "With 0 a worker that hangs is never replaced, and its streams hang with it:"
        fixes.append(Advice(text, ("timeout = 60",)))
    if _is_gevent(settings) and not settings["keepalive"]:
        text = "It also ends requests that do not come to their end; with 0 each keeps its place for ever:"
        fixes.append(Advice(text, ("keepalive = 5",)))
    yield Check("time-outs", WARN if fixes else OK, said, tuple(fixes), measured)


def _protocols(settings: Settings, service: ApplicationState) -> Iterator[Check]:
    if "h2" in (settings.get("http_protocols") or ()):
        fix = (Advice(HTTP2[0].upper() + HTTP2[1:] + ":", ('http_protocols = "h1"',)),)
        yield Check("protocol", FAIL, "HTTP/2 ends in gunicorn", fix)
    elif settings.get("certfile"):
        yield Check("protocol", OK, "TLS ends in gunicorn: streams go by the generator transport, a greenlet each")
