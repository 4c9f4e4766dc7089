"""gunicorn's worker that runs this process: how it is found, its settings, and whether it is about to stop.

gunicorn documents its settings and hooks. What else of it is used, here and in ``gunicorn_child.py``, is listed in
``_PRIVATE_PARTS`` and looked up once, when the worker is found: one log line says what does not work without the parts
that are missing. What a stream may expect of the server is answered in ``server.py``.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Callable

from ..transports.private_parts import TESTED_VERSIONS
from ..util import forks
from ..util.call_stack import find_caller
from .gunicorn_child import find_gevent_class, leave_worker

log = logging.getLogger("flask_ssemux")

#: gunicorn's modules of worker classes, and the names of those classes in its configuration.
KINDS = {"gthread": "gthread", "ggevent": "gevent", "sync": "sync", "geventlet": "eventlet", "gtornado": "tornado"}

#: gunicorn's worker, if it is known already; or None.
known_worker: Any = None


def adopt_worker(worker: Any) -> None:
    """Remember gunicorn's worker, as its ``post_worker_init`` hook passes it."""
    global known_worker
    if worker is not known_worker:
        known_worker = worker
        forget_greenlet_tree(worker)
        for trouble in find_missing_parts(worker):
            log.warning("%s", trouble)


def forget_greenlet_tree(worker: Any) -> None:
    """Under gunicorn's gevent worker: no greenlet remembers which one spawned it, and from which lines.

    gevent does so for debugging. It costs 0.3 KB for each stream, and time for each request. gevent's own variable
    wins.
    """
    if find_gevent_class(worker) is not None and "GEVENT_TRACK_GREENLET_TREE" not in os.environ:
        sys.modules["gevent"].config.track_greenlet_tree = False


def _leave_worker() -> None:
    """In a forked child: the process is not a worker, until a server says that it is."""
    global known_worker
    left, known_worker = find_worker(), None
    if left is not None and not _find_missing(left, _CHILD_PARTS):
        leave_worker(left)


def find_worker() -> Any:
    """Return gunicorn's worker that runs us, also without the hook: it is among our callers in a request; or None."""
    if known_worker is None:
        found = find_caller("gunicorn.workers.", "cfg")
        if found is not None:
            adopt_worker(found)
    return known_worker


def find_settings() -> Any:
    """Return gunicorn's settings, as soon as it loads the application (in its master, with preload_app); or None."""
    known = find_worker() or find_caller("gunicorn.", "cfg")
    return getattr(known, "cfg", None)


def find_kind(settings: Any) -> str:
    """Return gunicorn's name for its kind of worker, or for the kind that its worker class is derived from."""
    for base in type(find_worker()).__mro__:
        package, _, module = base.__module__.rpartition(".")
        if package == "gunicorn.workers" and module in KINDS:
            return KINDS[module]
    wanted = str(getattr(settings, "worker_class_str", ""))
    return next((kind for module, kind in KINDS.items() if "workers.%s." % module in wanted), wanted)


def is_stopping() -> bool:
    """Return whether the worker was asked to stop: by TERM, HUP, or because of ``max_requests``."""
    return known_worker is not None and not getattr(known_worker, "alive", True)


def call_when_loaded(work: Callable[[], None]) -> None:
    """Have gunicorn call this in each worker, once the whole application is loaded and before it serves a request.

    gunicorn does not start if ``work`` raises. Other servers have no such moment, and nothing is called there.
    """
    settings = find_settings()
    if settings is None:
        return
    known = settings.post_worker_init

    def post_worker_init(worker: Any) -> None:
        known(worker)
        work()

    settings.set("post_worker_init", post_worker_init)


# -- private parts -----------------------------------------------------------

_DRAIN_PARTS = ("alive",)
_CHILD_PARTS = ("pid", "sockets", "notify", "run:servers")

#: Attributes of a worker (``run:servers`` is a variable of its method), and what does not work without them.
_PRIVATE_PARTS = {
    _DRAIN_PARTS: "streams do not end when the worker is asked to stop, and a deploy waits for graceful_timeout",
    _CHILD_PARTS: "a process that the application forks in a worker may answer requests and end as a worker does",
}


def find_missing_parts(worker: Any) -> list[str]:
    """Return a line for each thing that does not work, because a private part of this worker is missing."""
    version, tested = getattr(sys.modules.get("gunicorn"), "__version__", "?"), TESTED_VERSIONS["gunicorn"]
    return [
        "gunicorn %s's %s has no %s, so %s; everything else works (flask_ssemux was tested with versions up to %s)"
        % (version, type(worker).__name__, " and no ".join(missing), consequence, tested)
        for parts, consequence in _PRIVATE_PARTS.items()
        for missing in [_find_missing(worker, parts)]
        if missing
    ]


def _find_missing(worker: Any, parts: tuple[str, ...]) -> list[str]:
    if worker is None or (parts is _CHILD_PARTS and find_gevent_class(worker) is None):
        return []
    return [part for part in parts if not _has_part(worker, part)]


def _has_part(worker: Any, part: str) -> bool:
    name, _, variable = part.partition(":")
    if not variable:
        return hasattr(worker, name)
    code = getattr(getattr(find_gevent_class(worker), name, None), "__code__", None)
    return variable in getattr(code, "co_varnames", ()) + getattr(code, "co_cellvars", ())


forks.call_in_child(_leave_worker, forks.FILES)
