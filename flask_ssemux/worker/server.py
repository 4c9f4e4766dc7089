"""Which server runs this process, what it allows, and what cannot work under it.

Only questions and answers, asked of gunicorn's own objects and of the WSGI
environment; how many requests other servers serve at a time, ``capacity.py`` finds out. No streams, no Flask.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Callable, Mapping

from ..errors import ConfigurationError
from ..transports.request_origin import is_called_by_test_client, is_called_directly
from ..transports.select import is_departure_noticed
from ..util import forks
from ..util.call_stack import find_caller, find_in_main_thread, find_outermost
from .capacity import ServerCapacity, is_unlimited, of_gunicorn, of_others, of_unknown
from .gunicorn_child import leave_worker

log = logging.getLogger("flask_ssemux")

_worker: Any = None
_found: tuple[str | None, ServerCapacity | None] | None = None

#: uvicorn's server. It waits for streams to end before it stops, without a time limit.
_uvicorn: Any = None


def adopt(worker: Any) -> None:
    """Remember gunicorn's worker, as its ``post_worker_init`` hook gives it."""
    global _worker, _found, _uvicorn
    _worker, _found, _uvicorn = worker, None, None


def leave() -> None:
    """In a forked child: it is no worker, until a server says so."""
    left = worker()
    if left is not None:
        leave_worker(left)
    adopt(None)


def worker() -> Any:
    """gunicorn's worker that runs us; without the hook it is found among our callers; or None."""
    if _worker is None:
        found = find_caller("gunicorn.workers.", "cfg")
        if found is not None:
            adopt(found)
    return _worker


def settings() -> Any:
    """gunicorn's settings, as soon as it loads the application (in its master, with preload_app); or None."""
    known = worker() or find_caller("gunicorn.", "cfg")
    return getattr(known, "cfg", None)


def slots() -> ServerCapacity | None:
    """How many requests this process serves at a time; None if nobody says. Asked in a request."""
    cfg = settings() if _found is None else None
    if _found is None and (cfg is None or _kind(cfg) not in _KINDS.values()):
        return of_others()  # in a child of a fork, of which nobody told us: the next request says more
    return _look({})[1]


def is_leaving() -> bool:
    """Whether our server was told to stop: TERM, HUP, max_requests."""
    if _uvicorn is not None:
        return bool(_uvicorn.should_exit)
    return _worker is not None and not _worker.alive


def check_start(broker_url: str) -> None:
    """What can be said before the first request.

    :raises ConfigurationError: the broker is memory, and gunicorn has several workers.
    """
    found = settings()
    if found is None:
        return
    if broker_url.startswith("memory:") and found.workers > 1:
        raise ConfigurationError(
            "SSEMUX_BROKER='memory:' with %d gunicorn workers: an event would reach only the clients of the "
            "worker that published it; use 'sqlite:' (the default), or one worker" % found.workers
        )
    kind = _kind(found)
    trouble = _why_no_worker_can(kind, found.threads)
    if trouble:
        log.error("%s", trouble)
    elif kind == "gthread":
        log.warning("%s", of_gunicorn(found, kind).told)


def call_when_loaded(work: Callable[[], None]) -> None:
    """Have gunicorn call this in each worker, once the whole application is loaded and before it serves a request.

    gunicorn does not start if it raises. No other server says when that is, and nothing is called there.
    """
    found = settings()
    if found is None:
        return
    known = found.post_worker_init

    def post_worker_init(worker: Any) -> None:
        known(worker)
        work()

    found.set("post_worker_init", post_worker_init)


def why_not(environ: Mapping[str, Any]) -> str | None:
    """Why a stream cannot be served to this request; None if it can."""
    if _waits_would_block_gevent():
        return UNPATCHED
    is_gunicorn = str(environ.get("SERVER_SOFTWARE", "")).startswith("gunicorn")
    if is_gunicorn and environ.get("HTTP_VERSION") == "2":
        return HTTP2
    trouble, _ = _look(environ)
    if trouble:
        return trouble
    if not environ.get("wsgi.multithread") and not _is_greenlet() and not is_called_directly(environ):
        return SYNC if is_gunicorn else ONE % "this server"
    return None


SYNC = (
    "gunicorn's sync worker serves one request at a time, so the first stream would block its worker for "
    "ever: start gunicorn with '-k gevent', or worker_class = 'gevent' in its configuration"
)
ONE = (
    "%s serves one request at a time, so the first stream would block every other: start gunicorn with '-k gevent', "
    "or give this server threads or greenlets (docs/servers.md)"
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
    "Tornado's WSGIContainer sends an answer only when it has ended, so a stream's client would never see any of it: "
    "start gunicorn with '-k gevent' (docs/servers.md)"
)
EVENTLET = (
    "this server runs on eventlet, on which streams cannot wait: start gunicorn with '-k gevent', or use another "
    "server (docs/servers.md)"
)
FOREIGN = (
    "gunicorn's %s worker has a loop of its own, in which streams cannot wait: start gunicorn with '-k gevent', "
    "or worker_class = 'gevent' in its configuration"
)


def _look(environ: Mapping[str, Any]) -> tuple[str | None, ServerCapacity | None]:
    """Why this process's server cannot stream, whatever the request; and its slots. Asked in a request, found once."""
    global _found
    if _found is None:
        cfg = settings()
        kind = "" if cfg is None else _kind(cfg)
        if kind in _KINDS.values():
            _found = _why_no_worker_can(kind, cfg.threads), of_gunicorn(cfg, kind)
        elif is_called_by_test_client() or is_called_directly(environ):
            return None, None  # this says nothing about who makes the next request
        else:
            _found = _look_at_other(environ)
    return _found


def _look_at_other(environ: Mapping[str, Any]) -> tuple[str | None, ServerCapacity | None]:
    global _uvicorn
    _uvicorn = find_in_main_thread("uvicorn.server", "should_exit")
    if getattr(find_outermost("start_response"), "__module__", "") == "tornado.wsgi":
        return BUFFERED, None
    if "eventlet.posthooks" in environ:
        return EVENTLET, None
    found = of_others()
    if found is None and environ.get("wsgi.multithread") and not is_unlimited(environ) and not _is_greenlet():
        found = of_unknown(environ)
    if found is not None:
        found = found._replace(notices=is_departure_noticed(environ))
    trouble = None if found is None or found.most > 1 else ONE % ("%s with %s" % (found.server, found.setting))
    return trouble, found


_KINDS = {"gthread": "gthread", "ggevent": "gevent", "sync": "sync", "geventlet": "eventlet", "gtornado": "tornado"}


def _kind(settings: Any) -> str:
    """gunicorn's name for its kind of worker, or for what that is derived from."""
    for base in type(worker()).__mro__:
        package, _, module = base.__module__.rpartition(".")
        if package == "gunicorn.workers" and module in _KINDS:
            return _KINDS[module]
    asked = str(settings.worker_class_str)
    return next((kind for module, kind in _KINDS.items() if "workers.%s." % module in asked), asked)


def _why_no_worker_can(kind: str, threads: int) -> str | None:
    """Why that kind of gunicorn's workers cannot stream; None if it can, or is not known here."""
    if kind == "sync":
        return SYNC
    if kind in ("eventlet", "tornado"):
        return FOREIGN % kind
    if kind == "gthread" and threads == 1:
        return ONE % "gunicorn's gthread worker with --threads 1"
    return None


def _is_greenlet() -> bool:
    """Whether we run in a greenlet of gevent's."""
    if "gevent.hub" not in sys.modules:
        return False
    from gevent import getcurrent
    from gevent.hub import Hub

    return isinstance(getcurrent().parent, Hub)


def _waits_would_block_gevent() -> bool:
    """Whether we run in a greenlet of gevent's in a process where a thread's wait stops them all."""
    if not _is_greenlet():
        return False
    from gevent.monkey import is_module_patched

    return not is_module_patched("threading")


forks.call_in_child(leave, forks.FILES)
