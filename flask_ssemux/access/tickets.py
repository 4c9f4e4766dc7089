"""Tickets: signed permissions in a URL, for clients without cookies. Each is short-lived and opens one stream.

A ticket identifies its bearer instead of ``identify`` and may limit which channels the stream reads. It never permits
more than the rules do, which are asked as usual. How tickets are made, found in a request, verified, used up, and kept
out of access logs. No rules and no views here.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from typing import Any, Mapping, MutableMapping, NamedTuple, Sequence
from urllib.parse import unquote_plus

from flask import Flask, Request, current_app
from itsdangerous import BadSignature, URLSafeSerializer

from ..brokers import Broker
from ..errors import ApplicationError, BadTicket, InvalidChannel
from ..sse import encode

#: The query parameter that holds a ticket, and the scheme of an ``Authorization`` header that does.
PARAMETER = "ticket"
SCHEME = "Ticket"

#: The longest validity of a ticket, in seconds: a client uses its ticket at once.
MAX_SECONDS = 3600.0

#: Seconds for which a used ticket stays used after it expired: the clocks of two machines may differ by so much.
CLOCK_SKEW = 60.0

#: The key in a WSGI environment under which its ticket is kept once it was verified.
ENVIRON_KEY = "ssemux.ticket"

#: The variables of a WSGI environment from which servers make their access logs.
_LOGGED = ("QUERY_STRING", "RAW_URI", "REQUEST_URI", "PATH_INFO", "HTTP_REFERER")

#: What separates the parts of a URL, and a name from its value; also where a client encoded it by mistake.
_BETWEEN = re.compile("([?&;#]|%3[fFbB]|%26|%23)")
_EQUALS = re.compile("=|%3[dD]")

#: The minimum length of a signature, in characters.
_SIGNATURE = 20

#: How many characters of a ticket may be logged: enough to tell two tickets apart, too few to use one.
_SHOWN = 8


class Ticket(NamedTuple):
    """The content of a ticket.

    :param name: unique to this ticket.
    :param until: Unix time in seconds; until then the ticket opens a stream.
    :param user: the bearer, as ``identify`` would return it.
    :param channels: the channels that a stream may name; None: whatever the rules allow.
    """

    name: str
    until: float
    user: Any
    channels: Sequence[str] | None

    def use_up(self, broker: Broker) -> None:
        """Mark the ticket as used.

        :raises BadTicket: the ticket was used before.
        :raises BrokerUnavailable: the broker cannot tell whether it was.
        """
        seconds = max(0.0, self.until - time.time()) + CLOCK_SKEW
        if not broker.one_time_keys.use_one_time_key(PARAMETER + ":" + self.name, seconds):
            raise BadTicket("this ticket was used already: each opens one stream; ask the application for another")


def issue_ticket(user_id: Any, channels: Sequence[str] | None, expires: float, app: Flask) -> str:
    """Return a ticket of this application; see ``flask_ssemux.ticket``."""
    if user_id is not None:
        encode.check_user_id(user_id)
    is_number = isinstance(expires, (int, float)) and not isinstance(expires, bool)
    if not is_number or not 0 < expires <= MAX_SECONDS:
        raise ApplicationError("a ticket expires after 1 to %d s, not %r: it is used at once" % (MAX_SECONDS, expires))
    user = ["uuid", str(user_id)] if isinstance(user_id, uuid.UUID) else user_id
    names = None if channels is None else _check_channels(channels)
    signers = _make_signers(app)
    if not signers:
        raise ApplicationError("tickets are signed with the application's SECRET_KEY, and it has none: set it")
    return str(signers[0].dumps([secrets.token_urlsafe(9), round(time.time() + expires, 3), user, names]))


def find_ticket(request: Request) -> str | None:
    """Return the ticket that a request shows, as text that was not verified yet; None if it shows none.

    :raises BadTicket: the request shows several.
    """
    shown = _find_in_query(request) + _find_in_header(request.headers.get("Authorization", ""))
    if len(shown) > 1:
        raise BadTicket("a request shows one ticket; this one shows %d" % len(shown))
    return shown[0] if shown else None


def verify_ticket(text: str, environ: MutableMapping[str, Any]) -> Ticket:
    """Return the content of a ticket of the current application, and note in the environment that it was verified.

    :raises BadTicket: the ticket is not one of this application, or has expired.
    """
    ticket = _decode_ticket(text)
    seconds_late = time.time() - ticket.until
    if seconds_late > 0:
        raise BadTicket("this ticket expired %.0f s ago: ask the application for another" % seconds_late)
    environ[ENVIRON_KEY] = text
    return ticket


def restore_ticket(environ: Mapping[str, Any]) -> Ticket | None:
    """Return the ticket that was verified when this environment was new, even if it has expired since; None if there
    was none.

    :raises BadTicket: the application's SECRET_KEY has changed.
    """
    text = environ.get(ENVIRON_KEY)
    return None if text is None else _decode_ticket(text)


def may_show_ticket(environ: Mapping[str, Any]) -> bool:
    """Return whether a server's access log of this request may contain a ticket."""
    for name in _LOGGED:
        value = environ.get(name)
        if value and (PARAMETER in value or "%" in value):
            return True
    return False


def hide_tickets(environ: MutableMapping[str, Any], is_stream_url: bool = True) -> None:
    """Shorten the tickets in the variables from which a server makes its access log after the request.

    :param is_stream_url: the URL is a stream's or does not exist, so that every parameter of this name is a ticket. At
        other URLs the parameter may be the application's own, and only values that look like a ticket are shortened.
    """
    for name in _LOGGED:
        value = environ.get(name)
        if value and (PARAMETER in value or "%" in value):
            fields = _BETWEEN.split(value)
            hidden = [_hide_value(field, is_stream_url and name != "HTTP_REFERER") for field in fields]
            if hidden != fields:
                environ[name] = "".join(hidden)


def _hide_value(field: str, is_stream_url: bool) -> str:
    name, mark, value = _EQUALS.sub("=", field, 1).partition("=")
    if len(value) <= _SHOWN or unquote_plus(name) != PARAMETER or not (is_stream_url or _looks_like_ticket(value)):
        return field
    return name + mark + value[:_SHOWN] + "..."


def _looks_like_ticket(value: str) -> bool:
    """Return whether a parameter's value has the form of a ticket: a payload, a dot and a signature."""
    payload, _, signature = unquote_plus(value).rpartition(".")
    return len(payload) >= _SIGNATURE <= len(signature)


def _find_in_query(request: Request) -> list[str]:
    """At the URL of a fixed stream the parameter may be the application's own; a value without a dot is not signed."""
    shown = request.args.getlist(PARAMETER)
    return shown if request.endpoint == "ssemux.events" else [text for text in shown if "." in text]


def _find_in_header(value: str) -> list[str]:
    scheme, _, token = value.partition(" ")
    return [token.strip()] if scheme.lower() == SCHEME.lower() else []


def _decode_ticket(text: str) -> Ticket:
    for signer in _make_signers(current_app):
        try:
            name, until, user, channels = signer.loads(text)
        except BadSignature:
            continue
        return Ticket(name, until, uuid.UUID(user[1]) if isinstance(user, list) else user, channels)
    raise BadTicket("this ticket was not made by this application, or with another SECRET_KEY: ask for another")


def _make_signers(app: Flask) -> list[URLSafeSerializer]:
    """The first one signs. The others are for former keys (``SECRET_KEY_FALLBACKS``, Flask 3.1) and only verify."""
    if not app.secret_key:
        return []
    keys = [app.secret_key, *(app.config.get("SECRET_KEY_FALLBACKS") or ())]
    return [URLSafeSerializer(key, salt=_make_salt(app)) for key in keys]


def _make_salt(app: Flask) -> str:
    """Tenants may share a SECRET_KEY: the user 1 of one namespace is not the user 1 of another."""
    namespace = app.extensions["ssemux"].options.namespace
    return "flask_ssemux.ticket" + (":" + namespace if namespace else "")


def _check_channels(channels: Sequence[str]) -> list[str]:
    if isinstance(channels, str):
        raise ApplicationError("a ticket's channels are a list of names; write [%r]" % channels)
    for channel in channels:
        encode.check_channel(channel)
        if not encode.is_named(channel) and not encode.is_run_channel(channel):
            raise InvalidChannel("%r: every stream reads its user's own channel and '*' anyway; leave it out" % channel)
    return list(channels)
