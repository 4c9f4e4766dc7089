"""Which transport a stream gets: what ``SSEMUX_TRANSPORT`` says, where it is safe.

Only what can be told from the request; what is seen later, when the first bytes
are out, the handoff transport finds out itself.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Mapping, NamedTuple

from ..hub.stream import Stream
from ..options import log
from ..util import forks
from ..util.request_override import RequestOverride
from ..util.threads import greenlets_are_threads
from .asgi import open_peer
from .client_socket import ClientSocket
from .generator import GeneratorTransport, TimedTransport
from .request_origin import is_called_by_test_client, is_called_directly
from .wait import departures

AUTO, GENERATOR, HANDOFF = "auto", "generator", "handoff"

#: What servers put into the environment that give the connection, or whose writes fail once the client has left.
FAILING_WRITES = frozenset({"gunicorn.socket", "werkzeug.socket", "mod_wsgi.version", "uwsgi.version"})

#: Imported with gevent only, so asked of where it is.
_LANE = __name__.rpartition(".")[0] + ".socket_writer"


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
        return TransportChoice(False, _note, override)
    report_obstacle = _warn if wanted == HANDOFF else _note
    obstacle = obstacle_to_handoff(environ)
    if obstacle:
        report_obstacle(obstacle)
    return TransportChoice(not obstacle, report_obstacle)


def open_transport(choice: TransportChoice, stream: Stream, client: ClientSocket) -> GeneratorTransport:
    """Return the WSGI iterator of a stream."""
    if choice.override is not None:
        choice.override.set_stream(stream)
        return TimedTransport(stream, client, choice.override.clock)
    if not choice.is_handed_over:
        return GeneratorTransport(stream, client)
    from .handoff import HandoffTransport

    return HandoffTransport(stream, client, choice.report_obstacle)


def is_departure_noticed(environ: Mapping[str, Any], client: ClientSocket | None = None) -> bool:
    """Return whether it is noticed that this request's client has left: as it leaves, or by a write that fails then.

    :param client: the request's client, if it is open already.
    """
    if not FAILING_WRITES.isdisjoint(environ):
        return True
    return (client or open_peer(environ)).is_watched or is_called_by_test_client() or is_called_directly(environ)


def obstacle_to_handoff(environ: Mapping[str, Any]) -> str | None:
    """Why this request's connection cannot be handed over; None if, as far as can be seen now, it can."""
    if not str(environ.get("SERVER_SOFTWARE", "")).startswith("gunicorn") or not greenlets_are_threads():
        return "the server is not gunicorn with its gevent worker"
    if environ.get("SERVER_PROTOCOL") not in ("HTTP/1.0", "HTTP/1.1") or environ.get("HTTP_VERSION") == "2":
        return "the protocol is not HTTP/1.0 or HTTP/1.1"
    from .handoff import can_be_taken

    if not can_be_taken(environ.get("gunicorn.socket")):
        return "the connection is not a plain one of gevent's on epoll (TLS ends in gunicorn, or another loop runs)"
    return None


def prepare() -> None:
    """Load what streams may need under gevent, and open what watches their clients.

    Once streams run, the process may have no file left, and an import would fail.
    """
    from . import handoff  # noqa: F401

    departures()


def handed_over() -> int:
    """Connections of this process that are written to without a greenlet."""
    lanes = sys.modules.get(_LANE)
    return lanes.count() if lanes is not None else 0


_warned: set[str] = set()
_warning = threading.Lock()


def _renew_lock() -> None:
    global _warning
    _warning = threading.Lock()


forks.call_in_child(_renew_lock, forks.LOCKS)


def _warn(obstacle: str) -> None:
    with _warning:
        is_new = obstacle not in _warned and len(_warned) < 100
        _warned.add(obstacle)
    if is_new:
        log.warning("SSEMUX_TRANSPORT='handoff' is not possible here, streams go by the generator: %s", obstacle)


def _note(obstacle: str) -> None:
    log.debug("a stream goes by the generator: %s", obstacle)
