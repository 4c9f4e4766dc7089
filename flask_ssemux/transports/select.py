"""Select the transport of a stream: the one that ``SSEMUX_TRANSPORT`` wants, if it is safe for this request.

The object for the client's connection is selected here, too. What can be seen only when the first bytes have been sent,
the handoff transport checks itself.
"""

from __future__ import annotations

import logging
import sys
import threading
from functools import lru_cache
from typing import Any, Callable, Mapping, NamedTuple

from ..hub.stream import Stream
from ..util import forks
from ..util.request_override import RequestOverride
from ..util.threads import greenlets_are_threads
from .asgi import ASGIClientSocket, passes_messages
from .client_socket import ClientSocket
from .client_watch import get_client_watch
from .generator import GeneratorTransport, TimedTransport
from .private_parts import Use, can_do, look_up_private_parts
from .request_origin import is_called_by_test_client, is_called_directly

log = logging.getLogger("flask_ssemux")

AUTO, GENERATOR, HANDOFF = "auto", "generator", "handoff"

#: Keys of the environment whose servers give the connection, or whose writes fail once the client has left.
FAILING_WRITES = frozenset({"gunicorn.socket", "werkzeug.socket", "mod_wsgi.version", "uwsgi.version"})

#: This module is imported only under gevent, so it is looked for and not imported here.
_SOCKET_WRITER = __name__.rpartition(".")[0] + ".socket_writer"


class TransportChoice(NamedTuple):
    """What was decided about the transport of one request's stream.

    :param is_handed_over: the connection will be handed over, as far as the request shows.
    :param report_obstacle: takes the reason if it is not handed over after all.
    :param override: of a request that ``flask_ssemux.testing`` makes.
    """

    is_handed_over: bool
    report_obstacle: Callable[[str], None]
    override: RequestOverride | None = None


def choose_transport(environ: Mapping[str, Any], wanted: str, override: RequestOverride | None) -> TransportChoice:
    """Choose the transport of the stream that this request asks for.

    :param wanted: ``SSEMUX_TRANSPORT``.
    :param override: as for ``TransportChoice``.
    """
    if wanted == GENERATOR or override is not None:
        return TransportChoice(False, _log_obstacle, override)
    report_obstacle = _warn_of_obstacle if wanted == HANDOFF else _log_obstacle
    obstacle = find_obstacle_to_handoff(environ)
    if obstacle:
        report_obstacle(obstacle)
    return TransportChoice(not obstacle, report_obstacle)


def find_client_socket(environ: Mapping[str, Any]) -> ClientSocket:
    """Return the other end of a request's connection, whatever the server is."""
    if "asgi.scope" in environ and passes_messages(environ):
        return ASGIClientSocket(environ)
    return ClientSocket(environ)


def make_transport(choice: TransportChoice, stream: Stream, client: ClientSocket) -> GeneratorTransport:
    """Return the WSGI iterator of a stream."""
    if choice.override is not None:
        choice.override.set_stream(stream)
        return TimedTransport(stream, client, choice.override.clock)
    if not choice.is_handed_over:
        return GeneratorTransport(stream, client)
    from .handoff import HandoffTransport

    return HandoffTransport(stream, client, choice.report_obstacle)


def is_departure_noticed(environ: Mapping[str, Any], client: ClientSocket | None = None) -> bool:
    """Return whether it is noticed that this request's client has left: at once, or by a write that fails then.

    :param client: the request's client, if it is known already.
    """
    if not FAILING_WRITES.isdisjoint(environ) or is_called_directly(environ):
        return True
    return (client or find_client_socket(environ)).can_notice_departure or is_called_by_test_client()


def find_obstacle_to_handoff(environ: Mapping[str, Any]) -> str | None:
    """Return why this request's connection cannot be handed over; None if it can, as far as the request shows."""
    if not str(environ.get("SERVER_SOFTWARE", "")).startswith("gunicorn") or not greenlets_are_threads():
        return "the server is not gunicorn with its gevent worker"
    if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.0", "HTTP/1.1") or environ.get("HTTP_VERSION") == "2":
        return "the protocol is not HTTP/1.0 or HTTP/1.1"
    if not can_do(Use.HANDOFF):
        return "a private part of gevent or gunicorn is missing"
    if not _has_epoll():
        return "this system has no epoll"
    from .gevent_socket import can_be_taken

    if not can_be_taken(environ.get("gunicorn.socket")):
        return "the connection is not a plain one of gevent's on epoll (TLS ends in gunicorn, or another loop runs)"
    return None


@lru_cache(maxsize=None)
def _has_epoll() -> bool:
    from .epoll import has_epoll

    return has_epoll()


def prepare_transports() -> None:
    """Look up what transports need, and under gevent load it and open what watches the clients.

    Once streams run, the process may have no file left, and an import would fail.
    """
    look_up_private_parts()
    if greenlets_are_threads():
        from . import handoff  # noqa: F401

        get_client_watch()


def count_handed_over() -> int:
    """Return how many connections of this process are written to without a greenlet."""
    module = sys.modules.get(_SOCKET_WRITER)
    return module.count_connections() if module is not None else 0


_warned: set[str] = set()
_warning = threading.Lock()


def _renew_lock() -> None:
    global _warning
    _warning = threading.Lock()


forks.call_in_child(_renew_lock, forks.LOCKS)


def _warn_of_obstacle(obstacle: str) -> None:
    with _warning:
        is_new = obstacle not in _warned and len(_warned) < 100
        _warned.add(obstacle)
    if is_new:
        log.warning("SSEMUX_TRANSPORT='handoff' is not possible here, streams go by the generator: %s", obstacle)


def _log_obstacle(obstacle: str) -> None:
    log.debug("a stream goes by the generator: %s", obstacle)
