"""Tickets: who a stream is for, where a cookie does not reach. Signed, short-lived, good for one stream.

A ticket says who its bearer is, in place of ``identify``, and may narrow what they read; it never widens it: rules
are asked as ever. How tickets are made, shown, read, used up, and kept out of logs. No rules and no routes here.
"""

from __future__ import annotations

import re
import secrets
import time
import uuid
from typing import Any, MutableMapping, NamedTuple, Sequence
from urllib.parse import unquote_plus

from flask import current_app, has_request_context, request
from itsdangerous import BadSignature, URLSafeSerializer

from ..brokers import Broker
from ..errors import ApplicationError, BadTicket, InvalidChannel
from ..sse import encode

#: The query parameter that holds a ticket; and the scheme of an ``Authorization`` header that does.
PARAMETER = "ticket"
SCHEME = "Ticket"

#: Seconds that a ticket may be good for: it is there to be used at once.
LONGEST = 3600.0

#: Seconds for which a ticket stays used up after it expired: as far as the clocks of two machines may be apart.
SKEW = 60.0

#: Where a request's environment has its ticket, once it was read.
KEY = "ssemux.ticket"

#: What servers make the lines of their access logs of.
_LOGGED = ("QUERY_STRING", "RAW_URI", "REQUEST_URI", "PATH_INFO", "HTTP_REFERER")

#: What stands between the parts of a URL, also where a client encoded it by mistake; and between name and value.
_BETWEEN = re.compile("([?&;#]|%3[fFbB]|%26|%23)")
_EQUALS = re.compile("=|%3[dD]")

#: Characters of a signature, at least.
_SIGNATURE = 20

#: Characters of a ticket that may be logged: enough to tell two apart, too few to use.
_SHOWN = 8


class Ticket(NamedTuple):
    """What a ticket says.

    :param name: its own; no two have the same.
    :param until: Unix time, seconds, until which it opens a stream.
    :param user: who its bearer is, as ``identify`` would say it.
    :param channels: those that a stream may name; None: whatever rules allow.
    """

    name: str
    until: float
    user: Any
    channels: Sequence[str] | None

    def use(self, broker: Broker) -> None:
        """Use it up.

        :raises BadTicket: it was used before.
        :raises BrokerUnavailable: nobody can tell.
        """
        if not broker.one_time_keys.use_one_time_key(
            PARAMETER + ":" + self.name, max(0.0, self.until - time.time()) + SKEW
        ):
            raise BadTicket("this ticket was used already: each opens one stream; ask the application for another")


def issue(user_id: Any, channels: Sequence[str] | None = None, expires: float = 60) -> str:
    """A ticket of the current application; see ``flask_ssemux.ticket``."""
    if user_id is not None:
        encode.check_user_id(user_id)
    is_number = isinstance(expires, (int, float)) and not isinstance(expires, bool)
    if not is_number or not 0 < expires <= LONGEST:
        raise ApplicationError("a ticket expires after 1 to %d s, not %r: it is used at once" % (LONGEST, expires))
    user = ["uuid", str(user_id)] if isinstance(user_id, uuid.UUID) else user_id
    names = None if channels is None else _checked(channels)
    signers = _signers()
    if not signers:
        raise ApplicationError("tickets are signed with the application's SECRET_KEY, and it has none: set it")
    return str(signers[0].dumps([secrets.token_urlsafe(9), round(time.time() + expires, 3), user, names]))


def presented() -> Ticket | None:
    """The ticket of the current request; None without one.

    Whoever asks again of the same environment, also later, is not told that it expired meanwhile.

    :raises BadTicket: it is none of this application's, it expired, or there are several.
    """
    if not has_request_context():
        return None
    environ = request.environ
    text = environ.get(KEY)
    if text is not None:
        return _read(text)
    shown = _of_query() + _of_header(request.headers.get("Authorization", ""))
    if not shown:
        return None
    if len(shown) > 1:
        raise BadTicket("a request shows one ticket; this one shows %d" % len(shown))
    ticket = _read(shown[0])
    late = time.time() - ticket.until
    if late > 0:
        raise BadTicket("this ticket expired %.0f s ago: ask the application for another" % late)
    environ[KEY] = shown[0]
    return ticket


def hide(environ: MutableMapping[str, Any], is_ours: bool = True) -> None:
    """Leave only the beginning of a ticket in what the server's access log is made of, after the request.

    :param is_ours: the URL is a stream's, or nobody's: whatever it calls a ticket is one. Elsewhere the parameter may
        be the application's own, and only what has a ticket's form is shortened.
    """
    for name in _LOGGED:
        value = environ.get(name)
        if value and ("=" in value or "%3" in value):
            fields = _BETWEEN.split(value)
            hidden = [_hidden(field, is_ours and name != "HTTP_REFERER") for field in fields]
            if hidden != fields:
                environ[name] = "".join(hidden)


def _hidden(field: str, is_ours: bool) -> str:
    name, mark, value = _EQUALS.sub("=", field, 1).partition("=")
    if len(value) <= _SHOWN or unquote_plus(name) != PARAMETER or not (is_ours or _is_like_one(value)):
        return field
    return name + mark + value[:_SHOWN] + "..."


def _is_like_one(value: str) -> bool:
    """Whether a parameter's value has the form of a ticket: what is said, a dot, a signature."""
    said, dot, signature = unquote_plus(value).rpartition(".")
    return len(said) >= _SIGNATURE <= len(signature)


def _of_query() -> list[str]:
    """At an old URL (``add_stream``) the parameter may be the application's own since ever: what is not signed is."""
    shown = request.args.getlist(PARAMETER)
    return shown if request.endpoint == "ssemux.events" else [text for text in shown if "." in text]


def _of_header(value: str) -> list[str]:
    scheme, _, token = value.partition(" ")
    return [token.strip()] if scheme.lower() == SCHEME.lower() else []


def _read(text: str) -> Ticket:
    for signer in _signers():
        try:
            name, until, user, channels = signer.loads(text)
        except BadSignature:
            continue
        return Ticket(name, until, uuid.UUID(user[1]) if isinstance(user, list) else user, channels)
    raise BadTicket("this ticket was not made by this application, or with another SECRET_KEY: ask for another")


def _signers() -> list[URLSafeSerializer]:
    """The first signs; the others, of keys that were rotated out (``SECRET_KEY_FALLBACKS``, Flask 3.1), only read."""
    if not current_app.secret_key:
        return []
    keys = [current_app.secret_key, *(current_app.config.get("SECRET_KEY_FALLBACKS") or ())]
    return [URLSafeSerializer(key, salt=_salt()) for key in keys]


def _salt() -> str:
    """Tenants may share a SECRET_KEY: the user 1 of one namespace is not the user 1 of another."""
    namespace = current_app.extensions["ssemux"].options.namespace
    return "flask_ssemux.ticket" + (":" + namespace if namespace else "")


def _checked(channels: Sequence[str]) -> list[str]:
    if isinstance(channels, str):
        raise ApplicationError("a ticket's channels are a list of names; write [%r]" % channels)
    for channel in channels:
        encode.check_channel(channel)
        if not encode.is_named(channel):
            raise InvalidChannel("%r: the user's own channel and everyone's come anyway; leave it out" % channel)
    return list(channels)
