"""What a client asks for when it requests a stream, read from the request once. Nothing is decided here.

Who the client is and what it may read is not known yet: the channels are as the client wrote them, and its ticket is
not verified.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Mapping, MutableMapping, NamedTuple, Sequence
from urllib.parse import unquote_plus

from flask import Request

from ..access import tickets
from ..errors import BadRequest, QueryTooLong
from ..sse import encode
from ..util.request_override import ENVIRON_KEY, RequestOverride
from .probe import PARAMETER as PROBE_PARAMETER

#: The parameters in which clients repeat their ``Last-Event-ID``, in lower case, because clients differ in the case of
#: letters: WHATWG's name of the attribute, the header's, then those of polyfills and peers.
LAST_ID_PARAMETERS = frozenset(("lasteventid", "last-event-id", "last_event_id", "evs_last_event_id"))

#: The parameter for channels that are new to a client that comes back: it gets their snapshots, and no replay.
NEW_PARAMETER = "new"

#: The parameter that asks for a complete answer instead of a stream.
POLL_PARAMETER = "poll"

#: The parameter by which a client chooses how frames name their channels; without it ``SSEMUX_CHANNEL_FORM`` applies.
CHANNEL_FORM_PARAMETER = "channel_form"

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


#: Matches a query in which only ASCII characters are escaped. Werkzeug's parser is asked about any other.
_is_plain = re.compile(r"(?:[!-$&-:<-~]|%[0-7][0-9A-Fa-f])*").fullmatch


class StreamRequest(NamedTuple):
    """One request for a stream.

    :param environ: of the request.
    :param is_stopped: whether the last event that the client saw stopped it, so that it must stay away.
    :param last_ids: every ``Last-Event-ID`` that the client sent, in its header and its query.
    :param channels: the channels that the client names.
    :param new_channels: the channels that are new to a client that has seen others.
    :param channel_form: how its frames name their channels; None if the client does not say.
    :param ticket: the ticket's text.
    :param probe: the token of a probe, whose stream replaces that of the URL.
    :param override: of a request that ``flask_ssemux.testing`` makes.
    :param is_head: whether only the headers are wanted.
    """

    environ: MutableMapping[str, Any]
    is_stopped: bool
    last_ids: Sequence[str]
    channels: Sequence[str]
    new_channels: Sequence[str]
    channel_form: str | None
    ticket: str | None
    probe: str | None
    poll: PollMode
    override: RequestOverride | None
    is_head: bool

    @classmethod
    def parse(cls, request: Request) -> StreamRequest:
        """
        :raises QueryTooLong: the query was not parsed.
        :raises BadRequest: the poll mode, or the form of channels, is unknown.
        :raises BadTicket: there are several tickets.
        """
        environ = request.environ
        query = _parse_query(request)
        last_ids = _find_last_ids(environ, query)
        probe = query[PROBE_PARAMETER][0] if PROBE_PARAMETER in query else None
        has_poll = probe is None and POLL_PARAMETER in query
        override = environ.get(ENVIRON_KEY)
        return cls(
            environ,
            encode.STOP_ID in last_ids,
            last_ids,
            query.get("channel", ()),
            query.get(NEW_PARAMETER, ()),
            _check_channel_form(query[CHANNEL_FORM_PARAMETER][0]) if CHANNEL_FORM_PARAMETER in query else None,
            tickets.find_ticket(request) if tickets.PARAMETER in query or "HTTP_AUTHORIZATION" in environ else None,
            probe,
            _parse_mode(query[POLL_PARAMETER][0]) if has_poll else PollMode.NONE,
            override if isinstance(override, RequestOverride) else None,
            request.method == "HEAD",
        )

    @classmethod
    def of_answer(cls, request: Request) -> StreamRequest:
        """Read only what a client says about the stream with which a view answers it."""
        environ = request.environ
        last_ids = [text for text in (environ.get("HTTP_LAST_EVENT_ID"),) if text]
        override = environ.get(ENVIRON_KEY)
        return cls(
            environ, encode.STOP_ID in last_ids, last_ids, (), (), None, None, None, PollMode.NONE,
            override if isinstance(override, RequestOverride) else None, request.method == "HEAD",
        )  # fmt: skip


def _parse_query(request: Request) -> Mapping[str, Sequence[str]]:
    """Return the values of each parameter; a query that is too long is not parsed.

    :raises QueryTooLong: the query exceeds the limit.
    """
    query = request.environ.get("QUERY_STRING", "")
    if len(query) > MAX_QUERY_BYTES:
        raise QueryTooLong("a query has at most %d bytes; this one has %d" % (MAX_QUERY_BYTES, len(query)))
    if not _is_plain(query):
        return request.args.to_dict(flat=False)
    found: dict[str, list[str]] = {}
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return found


def _find_last_ids(environ: Mapping[str, Any], query: Mapping[str, Sequence[str]]) -> list[str]:
    found = [environ.get("HTTP_LAST_EVENT_ID", "")]
    for name, texts in query.items():
        if name.lower() in LAST_ID_PARAMETERS:
            found += texts
    return [text for text in found if text]


def _parse_mode(text: str) -> PollMode:
    if text not in _POLL_MODES:
        raise BadRequest(
            "poll=%r is not known; use poll=1, which waits for an event, or poll=now, which does not wait" % text
        )
    return _POLL_MODES[text]


def _check_channel_form(text: str) -> str:
    if text not in encode.CHANNEL_FORMS:
        raise BadRequest(
            "channel_form=%r is not known; use channel_form=comment for a parser that reports an unknown field as an "
            "error, or channel_form=field" % text
        )
    return text
