"""Finds out whether the server that runs this process can serve streams, how many, and whether it is about to stop.

``gunicorn_worker.py`` finds gunicorn's worker; ``capacity.py`` finds out how many requests other servers serve at a
time. No streams, no Flask.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Mapping, NamedTuple

from ..errors import ConfigurationError
from ..transports.request_origin import is_called_by_test_client, is_called_directly
from ..transports.select import is_departure_noticed
from ..util import forks
from ..util.call_stack import find_in_main_thread, find_outermost
from ..util.threads import greenlets_are_threads
from . import gunicorn_worker
from .capacity import ServerCapacity, find_other_capacity, get_gunicorn_capacity, get_unknown_capacity, is_unlimited

log = logging.getLogger("flask_ssemux")


class _Findings(NamedTuple):
    """What is known of the server, whatever the request.

    :param worker: gunicorn's, for which this was found.
    :param trouble: why the server cannot serve streams; None if it can.
    """

    worker: Any
    trouble: str | None
    capacity: ServerCapacity | None


_found: _Findings | None = None

#: What is known if no server made the request, but a test, or a program that calls the application as a function.
_NO_SERVER = _Findings(None, None, None)

#: uvicorn's server. It waits for streams to end before it stops, without a time limit.
_uvicorn: Any = None


def get_capacity() -> ServerCapacity | None:
    """Return how many requests this process serves at a time; None if no server says. Called in a request."""
    if _get_known() is None:
        settings = gunicorn_worker.find_settings()
        if settings is None or gunicorn_worker.find_kind(settings) not in gunicorn_worker.KINDS.values():
            return find_other_capacity()  # for example in a forked child: the next request says more
    return _examine({}).capacity


def is_stopping() -> bool:
    """Return whether the server was asked to stop."""
    if _uvicorn is not None:
        return bool(getattr(_uvicorn, "should_exit", False))
    return gunicorn_worker.is_stopping()


def check_start(broker_url: str) -> None:
    """Log what can be said before the first request.

    :raises ConfigurationError: the broker is memory, and gunicorn has several workers.
    """
    settings = gunicorn_worker.find_settings()
    if settings is None:
        return
    if broker_url.startswith("memory:") and settings.workers > 1:
        raise ConfigurationError(
            "SSEMUX_BROKER='memory:' with %d gunicorn workers: an event would reach only the clients of the "
            "worker that published it; use 'sqlite:' (the default), or one worker" % settings.workers
        )
    kind = gunicorn_worker.find_kind(settings)
    trouble = _why_kind_cannot(kind, settings.threads)
    if trouble:
        log.error("%s", trouble)
    elif kind == "gthread":
        log.warning("%s", get_gunicorn_capacity(settings, kind).advice)


def why_not(environ: Mapping[str, Any]) -> str | None:
    """Return why a stream cannot be served to this request; None if it can."""
    if _blocks_gevent():
        return UNPATCHED
    is_gunicorn = str(environ.get("SERVER_SOFTWARE", "")).startswith("gunicorn")
    if is_gunicorn and environ.get("HTTP_VERSION") == "2":
        return HTTP2
    findings = _examine(environ)
    if findings.trouble:
        return findings.trouble
    if environ.get("wsgi.multithread") or findings is _NO_SERVER or _is_greenlet() or is_called_directly(environ):
        return None
    return SYNC if is_gunicorn else ONE % "this server"


SYNC = (
    "gunicorn's sync worker serves one request at a time, so the first stream would block its worker: start gunicorn "
    "with '-k gevent', or worker_class = 'gevent' in its configuration"
)
ONE = (
    "%s serves one request at a time, so the first stream would block every other request: start gunicorn with "
    "'-k gevent', or give this server threads or greenlets (docs/servers.md)"
)
UNPATCHED = (
    "this server runs on gevent, but gevent has not patched the process, so the first stream would block every other "
    "request: call gevent.monkey.patch_all() before anything else is imported"
)
HTTP2 = (
    "gunicorn serves the streams of one HTTP/2 connection one after another, so a stream would "
    "block every other request of its browser: end HTTP/2 in the proxy in front, and speak HTTP/1.1 to gunicorn"
)
BUFFERED = (
    "Tornado's WSGIContainer sends an answer only when it has ended, so the client of a stream would never receive "
    "any of it: start gunicorn with '-k gevent' (docs/servers.md)"
)
EVENTLET = (
    "this server runs on eventlet, on which streams cannot wait: start gunicorn with '-k gevent', or use another "
    "server (docs/servers.md)"
)
FOREIGN = (
    "gunicorn's %s worker has a loop of its own, in which streams cannot wait: start gunicorn with '-k gevent', "
    "or worker_class = 'gevent' in its configuration"
)


def _get_known() -> _Findings | None:
    """Return what was found in an earlier request; None if another worker of gunicorn's was adopted meanwhile."""
    return _found if _found is not None and _found.worker is gunicorn_worker.known_worker else None


def _examine(environ: Mapping[str, Any]) -> _Findings:
    """Find out about the server in a request, once."""
    global _found
    known = _get_known()
    if known is not None:
        return known
    settings: Any = gunicorn_worker.find_settings() if "gunicorn.arbiter" in sys.modules else None
    kind = "" if settings is None else gunicorn_worker.find_kind(settings)
    worker = gunicorn_worker.known_worker
    if kind in gunicorn_worker.KINDS.values():
        _found = _Findings(worker, _why_kind_cannot(kind, settings.threads), get_gunicorn_capacity(settings, kind))
    elif is_called_directly(environ):
        return _NO_SERVER  # this says nothing about who makes the next request
    elif is_called_by_test_client():
        return _Findings(worker, None, None)
    else:
        _found = _Findings(worker, *_examine_other(environ))
    return _found


def _examine_other(environ: Mapping[str, Any]) -> tuple[str | None, ServerCapacity | None]:
    """Find out about a server that is not gunicorn."""
    global _uvicorn
    _uvicorn = find_in_main_thread("uvicorn.server", "should_exit")
    if getattr(find_outermost("start_response"), "__module__", "") == "tornado.wsgi":
        return BUFFERED, None
    if "eventlet.posthooks" in environ:
        return EVENTLET, None
    found = find_other_capacity()
    if found is None and environ.get("wsgi.multithread") and not is_unlimited(environ) and not _is_greenlet():
        found = get_unknown_capacity(environ)
    if found is not None:
        found = found._replace(notices_departures=is_departure_noticed(environ))
    trouble = None if found is None or found.requests > 1 else ONE % ("%s with %s" % (found.server, found.setting))
    return trouble, found


def _why_kind_cannot(kind: str, threads: int) -> str | None:
    """Return why this kind of gunicorn worker cannot serve streams; None if it can, or if it is not known here."""
    if kind == "sync":
        return SYNC
    if kind in ("eventlet", "tornado"):
        return FOREIGN % kind
    if kind == "gthread" and threads == 1:
        return ONE % "gunicorn's gthread worker with --threads 1"
    return None


def _is_greenlet() -> bool:
    """Return whether we run in a greenlet of gevent's."""
    if "gevent.hub" not in sys.modules:
        return False
    from gevent import getcurrent
    from gevent.hub import Hub

    return isinstance(getcurrent().parent, Hub)


def _blocks_gevent() -> bool:
    """Return whether we run in a greenlet of gevent's in a process where a thread's wait stops all greenlets."""
    return not greenlets_are_threads() and _is_greenlet()


def _forget_server() -> None:
    global _found, _uvicorn
    _found = _uvicorn = None


forks.call_in_child(_forget_server, forks.FILES)
