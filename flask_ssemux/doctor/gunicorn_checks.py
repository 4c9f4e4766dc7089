"""Checks gunicorn's settings. Needs neither an application nor Flask."""

from __future__ import annotations

from typing import Any, Iterator, Mapping

from ..options import Options
from ..util.file_limit import get_file_limit
from ..worker.capacity import SHARE
from ..worker.drain import DRAIN_SECONDS
from ..worker.server import HTTP2, SYNC
from .report import FAIL, OK, WARN, Advice, Check

#: The line that configures gunicorn for flask_ssemux.
IMPORT = "from flask_ssemux.gunicorn_conf import *"

Settings = Mapping[str, Any]


def check_gunicorn(settings: Settings, options: Options | None) -> Iterator[Check]:
    """Yield the checks of gunicorn's settings.

    :param options: of the application; None if they are not known.
    """
    for check in _CHECKS:
        yield from check(settings, options)


def is_gevent(settings: Settings) -> bool:
    return "gevent" in settings["worker_class"]


def _check_worker_class(settings: Settings, options: Options | None) -> Iterator[Check]:
    kind = settings["worker_class"]
    measured = {"worker_class": kind}
    fix = Advice("In gunicorn's configuration:", (IMPORT,))
    if is_gevent(settings):
        yield Check("worker class", OK, kind, (), measured)
    elif kind == "sync":
        yield Check("worker class", FAIL, "%s: %s" % (kind, SYNC.partition(":")[0]), (fix,), measured)
    elif kind == "gthread":
        said = "gthread: each stream needs a thread, and a worker has %d" % settings["threads"]
        yield Check("worker class", WARN, said, (fix,), measured)
    else:
        yield Check("worker class", WARN, "%s: not tested with flask_ssemux" % kind, (fix,), measured)


def _check_patching(settings: Settings, options: Options | None) -> Iterator[Check]:
    if not is_gevent(settings):
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


def _check_workers(settings: Settings, options: Options | None) -> Iterator[Check]:
    count = settings["workers"]
    measured = {"workers": count}
    if count > 1 and options is not None and options.broker.startswith("memory:"):
        said = (
            "%d workers with SSEMUX_BROKER='memory:': an event reaches only the clients of the worker that published it"
            % count
        )
        fix = Advice("Either:", ("SSEMUX_BROKER = 'sqlite:'", "workers = 1"))
        yield Check("workers", FAIL, said, (fix,), measured)
    else:
        yield Check("workers", OK, "%d" % count, (), measured)


def _check_connections(settings: Settings, options: Options | None) -> Iterator[Check]:
    slots = settings["threads"] if settings["worker_class"] == "gthread" else settings["worker_connections"]
    files = get_file_limit()
    asked = options.max_streams if options is not None else None
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


def _check_max_requests(settings: Settings, options: Options | None) -> Iterator[Check]:
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


def _check_time_outs(settings: Settings, options: Options | None) -> Iterator[Check]:
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
    if is_gevent(settings) and not settings["keepalive"]:
        text = "keepalive also ends incomplete requests; with 0 each of them keeps its connection forever:"
        fixes.append(Advice(text, ("keepalive = 5",)))
    yield Check("time-outs", WARN if fixes else OK, said, tuple(fixes), measured)


def _check_protocols(settings: Settings, options: Options | None) -> Iterator[Check]:
    if "h2" in (settings.get("http_protocols") or ()):
        fix = (Advice(HTTP2[0].upper() + HTTP2[1:] + ":", ('http_protocols = "h1"',)),)
        yield Check("protocol", FAIL, "HTTP/2 ends in gunicorn", fix)
    elif settings.get("certfile"):
        yield Check(
            "protocol", OK, "TLS ends in gunicorn: streams use the generator transport, with a greenlet for each"
        )


_CHECKS = (
    _check_worker_class, _check_patching, _check_workers, _check_connections, _check_max_requests, _check_time_outs,
    _check_protocols,
)  # fmt: skip
