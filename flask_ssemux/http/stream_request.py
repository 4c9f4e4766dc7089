"""What a client asks for when it requests a stream, read from the request once. Nothing is decided here.

Who the client is and what it may read is not known yet: the channels are as the client wrote them, and its ticket is
not verified.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, MutableMapping, NamedTuple, Sequence

from flask import Request
from werkzeug.datastructures import MultiDict

from ..access.tickets import find_ticket
from ..errors import BadRequest, QueryTooLong
from ..sse import encode
from ..transports.select import TransportChoice, choose_transport
from ..util.request_override import RequestOverride, find_override
from .probe import PARAMETER as PROBE_PARAMETER

#: The parameters in which clients repeat their ``Last-Event-ID``, in lower case, because clients differ in the case of
#: letters: WHATWG's name of the attribute, the header's, then those of polyfills and peers.
LAST_ID_PARAMETERS = frozenset(("lasteventid", "last-event-id", "last_event_id", "evs_last_event_id"))

#: The parameter for channels that are new to a client that comes back: it gets their snapshots, and no replay.
NEW_PARAMETER = "new"

#: The parameter that asks for a complete answer instead of a stream.
POLL_PARAMETER = "poll"

#: The maximum length of a query in bytes: nginx accepts so much in a request's first line
#: (large_client_header_buffers), and gunicorn can be set to accept it (limit_request_line, 4094 by default). Other
#: servers accept more.
MAX_QUERY_BYTES = 8190


class PollMode(Enum):
    """Whether the client asks for a complete answer instead of a stream."""

    #: It asks for a stream.
    NONE = ""
    #: If there is no new event, the answer waits for one.
    WAIT = "1"
    #: The answer does not wait.
    NOW = "now"


_POLL_MODES = {"": PollMode.NONE, "1": PollMode.WAIT, "true": PollMode.WAIT, "now": PollMode.NOW}


class StreamRequest(NamedTuple):
    """One request for a stream.

    :param environ: of the request.
    :param is_stopped: whether the last event that the client saw stopped it, so that it must stay away.
    :param last_ids: every ``Last-Event-ID`` that the client sent, in its header and its query.
    :param channels: the channels that the client names.
    :param new_channels: the channels that are new to a client that has seen others.
    :param ticket: the ticket's text.
    :param probe: the token of a probe, whose stream replaces that of the URL.
    :param transport: of a stream; None for a poll, which has a transport of its own.
    :param override: of a request that ``flask_ssemux.testing`` makes.
    :param is_head: whether only the headers are wanted.
    """

    environ: MutableMapping[str, Any]
    is_stopped: bool
    last_ids: Sequence[str]
    channels: Sequence[str]
    new_channels: Sequence[str]
    ticket: str | None
    probe: str | None
    poll: PollMode
    override: RequestOverride | None
    transport: TransportChoice | None
    is_head: bool

    @classmethod
    def parse(cls, request: Request, wanted_transport: str) -> StreamRequest:
        """
        :param wanted_transport: ``SSEMUX_TRANSPORT``.
        :raises QueryTooLong: the query was not parsed.
        :raises BadRequest: the poll mode is unknown.
        :raises BadTicket: there are several tickets.
        """
        environ, arguments = request.environ, _parse_query(request)
        override = find_override(environ)
        probe = arguments.get(PROBE_PARAMETER)
        poll = _parse_poll_mode(arguments.get(POLL_PARAMETER, "")) if probe is None else PollMode.NONE
        last_ids = _find_last_ids(request)
        return cls(
            environ,
            encode.STOP_ID in last_ids,
            last_ids,
            arguments.getlist("channel"),
            arguments.getlist(NEW_PARAMETER),
            find_ticket(request),
            probe,
            poll,
            override,
            choose_transport(environ, wanted_transport, override) if poll is PollMode.NONE else None,
            request.method == "HEAD",
        )


def _parse_query(request: Request) -> MultiDict[str, str]:
    """Return the query's parameters; a query that is too long is not parsed.

    :raises QueryTooLong: the query exceeds the limit.
    """
    size = len(request.environ.get("QUERY_STRING", ""))
    if size > MAX_QUERY_BYTES:
        raise QueryTooLong("a query has at most %d bytes; this one has %d" % (MAX_QUERY_BYTES, size))
    return request.args


def _find_last_ids(request: Request) -> list[str]:
    found = [request.headers.get("Last-Event-ID", "")]
    for name, texts in request.args.lists():
        if name.lower() in LAST_ID_PARAMETERS:
            found += texts
    return [text for text in found if text]


def _parse_poll_mode(text: str) -> PollMode:
    if text not in _POLL_MODES:
        raise BadRequest(
            "poll=%r is not known; use poll=1, which waits for an event, or poll=now, which does not wait" % text
        )
    return _POLL_MODES[text]
