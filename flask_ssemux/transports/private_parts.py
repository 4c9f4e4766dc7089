"""The private parts of gevent and gunicorn that transports use: looked up once, when a process begins to serve.

A later version may lack one of them. Then nothing is done that needs it, streams work without it, and one log line
names what is missing. How the parts are used is in ``gevent_socket.py`` and ``gunicorn_response.py``; what the worker
uses of gunicorn is in ``worker/gunicorn_worker.py``.
"""

from __future__ import annotations

import logging
import sys
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from types import FunctionType
from typing import Any, Iterator, NamedTuple

from ..util.threads import greenlets_are_threads

log = logging.getLogger("flask_ssemux")

#: The newest versions that the tests have passed with. Newer ones are not refused.
TESTED_VERSIONS = {"gevent": "26.9.0", "gunicorn": "27.0.1"}

#: gunicorn's modules of workers that keep connections open after a response: gevent's, and gthread.
GEVENT_WORKER, THREAD_WORKER = "gunicorn.workers.base_async", "gunicorn.workers.gthread"

#: The function of these modules that handles a request, and its variables: the response, and the item that it sends.
HANDLER, RESPONSE, ITEM = "handle_request", "resp", "item"


class Use(Enum):
    """What private parts are used for. The value says what happens without them."""

    HANDOFF = "streams go by the generator transport"
    DIRECT_SEND = "each write of the generator transport takes more CPU time"
    ANNOUNCE_CLOSE = "a stream's response does not say that its connection closes"
    FIND_LOOP = "calls from native threads need the application to be set up in the main thread"


class PrivatePart(NamedTuple):
    """A part of another package that is not in its documentation.

    :param name: for the log.
    :param uses: what it is used for.
    """

    name: str
    uses: tuple[Use, ...]


#: Of a gevent socket: the real socket; whether a greenlet waits for it; and by which system call its loop waits.
_SOCKET_PARTS = {
    "_sock": (Use.DIRECT_SEND,),
    "_read_event.active": (Use.HANDOFF,),
    "_write_event.active": (Use.HANDOFF,),
    "hub.loop.backend": (Use.HANDOFF,),
}

#: Of gevent's hub, for ``util/threads.py``: which thread is the main one, and which one a hub belongs to.
_HUB_PARTS = ("MAIN_THREAD_IDENT", "Hub.thread_ident")

#: Of gunicorn's response: what was sent, how, and to what.
_RESPONSE_PARTS = {
    **dict.fromkeys(("req", "sock", "status", "status_code", "headers", "headers_sent"), (Use.HANDOFF,)),
    **dict.fromkeys(("sent", "chunked", "upgrade"), (Use.HANDOFF,)),
    "force_close": (Use.ANNOUNCE_CLOSE,),
}

#: Of the function that handles a request: its variables, by module.
_HANDLER_PARTS: dict[str, dict[str, tuple[Use, ...]]] = {
    GEVENT_WORKER: {RESPONSE: (Use.HANDOFF, Use.ANNOUNCE_CLOSE), ITEM: (Use.HANDOFF,)},
    THREAD_WORKER: {RESPONSE: (Use.ANNOUNCE_CLOSE,)},
}


def look_up_private_parts() -> None:
    """Look the private parts up, once in a process, and log what is missing."""
    _find_impossible_uses()


def can_do(use: Use) -> bool:
    """Return whether all private parts that this needs are there."""
    return use not in _find_impossible_uses()


def give_up_use(use: Use, error: Exception) -> None:
    """A private part is not as the look-up found it. From now on this process does without."""
    if can_do(use):
        _find_impossible_uses().add(use)
        _log_missing(["(%s: %s)" % (type(error).__name__, error)], [use])


@lru_cache(maxsize=None)
def _find_impossible_uses() -> set[Use]:
    missing = find_missing_parts()
    uses = {use for part in missing for use in part.uses}
    if missing:
        _log_missing([part.name for part in missing], [use for use in Use if use in uses])
    return uses


def find_missing_parts() -> list[PrivatePart]:
    """Return the private parts that the gevent and gunicorn of this process lack."""
    missing = list(_find_missing_of_gunicorn())
    if greenlets_are_threads():
        missing += _find_missing_of_gevent()
    return missing


def _find_missing_of_gevent() -> Iterator[PrivatePart]:
    from gevent import hub
    from gevent.socket import socket

    for name in _HUB_PARTS:
        if not _has_attribute(hub, name):
            yield PrivatePart("gevent.hub.%s" % name, (Use.FIND_LOOP,))
    try:
        probe = socket()
    except OSError:
        return  # no file is left; a part that is missing is noticed at the first handoff
    for name, uses in _SOCKET_PARTS.items():
        if not _has_attribute(probe, name):
            yield PrivatePart("gevent.socket.socket.%s" % name, uses)
    probe.close()


def _find_missing_of_gunicorn() -> Iterator[PrivatePart]:
    for module, parts in _HANDLER_PARTS.items():
        if module in sys.modules or (module == GEVENT_WORKER and greenlets_are_threads() and _runs_gunicorn()):
            variables = _list_variables(module)
            for name, uses in parts.items():
                if name not in variables:
                    yield PrivatePart("%s.%s():%s" % (module, HANDLER, name), uses)
    if _runs_gunicorn():
        attributes = _list_response_attributes()
        for name, uses in _RESPONSE_PARTS.items():
            if name not in attributes:
                yield PrivatePart("gunicorn.http.wsgi.Response.%s" % name, uses)


def _runs_gunicorn() -> bool:
    return "gunicorn.arbiter" in sys.modules


def _has_attribute(owner: Any, path: str) -> bool:
    try:
        attrgetter(path)(owner)
    except AttributeError:
        return False
    return True


def _list_variables(module: str) -> set[str]:
    """Return the variables of the function that handles a request."""
    for kind in vars(sys.modules.get(module, object)).values():
        code = getattr(getattr(kind, HANDLER, None), "__code__", None)
        if code is not None and kind.__module__ == module:
            return {*code.co_varnames, *code.co_cellvars}
    return set()


def _list_response_attributes() -> set[str]:
    """Return the names of a response's attributes: its class's own, and those that its methods set."""
    kind = getattr(sys.modules.get("gunicorn.http.wsgi"), "Response", object)
    found = set(dir(kind))
    for method in vars(kind).values():
        if isinstance(method, FunctionType):
            found.update(method.__code__.co_names)
    return found


def _log_missing(names: list[str], uses: list[Use]) -> None:
    log.warning(
        "%s lack %s, so %s; everything else works (flask_ssemux was tested with versions up to %s)",
        _describe({name: _find_version(name) for name in TESTED_VERSIONS}),
        " and ".join(names),
        " and ".join(use.value for use in uses),
        _describe(TESTED_VERSIONS),
    )


def _describe(versions: dict[str, str]) -> str:
    return " and ".join("%s %s" % pair for pair in versions.items())


def _find_version(package: str) -> str:
    return str(getattr(sys.modules.get(package), "__version__", "(not loaded)"))
