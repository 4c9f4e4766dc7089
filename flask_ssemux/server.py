"""Which server runs this process, what it allows, and what cannot work under it.

Only questions and answers, asked of gunicorn's own objects and of the WSGI
environment; no streams, no Flask.
"""

from __future__ import annotations

import logging
import resource
import sys
from typing import Any, Mapping

from .errors import ConfigurationError

log = logging.getLogger("flask_ssemux")

#: Of a worker's slots, what streams may take; the rest stays free for pages.
SHARE = 0.8

_worker: Any = None


def adopt(worker: Any) -> None:
    """Remember gunicorn's worker, as its ``post_worker_init`` hook gives it."""
    global _worker
    _worker = worker


def worker() -> Any:
    """gunicorn's worker that runs us; without the hook it is found among our callers; or None."""
    if _worker is None:
        found = _caller("gunicorn.workers.")
        if found is not None:
            adopt(found)
    return _worker


def settings() -> Any:
    """gunicorn's settings, as soon as it loads the application (in its master, with preload_app); or None."""
    known = worker() or _caller("gunicorn.")
    return getattr(known, "cfg", None)


def is_leaving() -> bool:
    """Whether our worker was told to stop: TERM, HUP, max_requests."""
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
    if found.worker_class_str == "sync":
        log.error("%s", SYNC)


def why_not(environ: Mapping[str, Any]) -> str | None:
    """Why a stream cannot be served to this request; None if it can."""
    if _waits_would_block_gevent():
        return UNPATCHED
    if not str(environ.get("SERVER_SOFTWARE", "")).startswith("gunicorn"):
        return None
    if not environ.get("wsgi.multithread"):
        return SYNC
    if environ.get("HTTP_VERSION") == "2":
        return HTTP2
    return None


SYNC = (
    "gunicorn's sync worker serves one request at a time, so the first stream would block its worker for "
    "ever: start gunicorn with '-k gevent', or worker_class = 'gevent' in its configuration"
)
UNPATCHED = (
    "this server runs on gevent, but gevent has not patched the process, so the first stream would block every other "
    "request: call gevent.monkey.patch_all() before anything else is imported"
)
HTTP2 = (
    "gunicorn's gevent worker serves the streams of one HTTP/2 connection one after another, so a stream would "
    "block every other request of its browser: end HTTP/2 in the proxy in front, and speak HTTP/1.1 to gunicorn"
)


def _waits_would_block_gevent() -> bool:
    """Whether we run in a greenlet of gevent's in a process where a thread's wait stops them all."""
    if "gevent.hub" not in sys.modules:
        return False
    from gevent import getcurrent
    from gevent.hub import Hub
    from gevent.monkey import is_module_patched

    return isinstance(getcurrent().parent, Hub) and not is_module_patched("threading")


def stream_files() -> int:
    """How many streams this process has files for, if ``SSEMUX_MAX_STREAMS`` does not say."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, int((1_000_000 if files == resource.RLIM_INFINITY else files) * SHARE))


def stream_slots() -> int:
    """How many streams may take a slot of the server each, if ``SSEMUX_MAX_STREAMS`` does not say."""
    found = settings()
    if found is None:
        return stream_files()
    slots = found.threads if found.worker_class_str == "gthread" else found.worker_connections
    return min(stream_files(), max(1, int(slots * SHARE)))


def _caller(module: str) -> Any:
    """The nearest object among our callers that has settings and comes from this module."""
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if type(found).__module__.startswith(module) and hasattr(found, "cfg"):
            return found
        frame = frame.f_back  # type: ignore[assignment]
    return None
