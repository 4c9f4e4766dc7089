"""Who is this, which channels may they read, how many streams may they hold.

The application's rules and the decisions made by them. The answer without a
rule is no. What an answer looks like over HTTP is not decided here.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterable, NamedTuple, Sequence, TypeVar

from flask import current_app, has_request_context, request

from . import tickets, wire
from .brokers import Broker
from .errors import (
    ApplicationError,
    BadRequest,
    Forbidden,
    InvalidChannel,
    InvalidEvent,
    InvalidIdentity,
    QueryTooLong,
    Unauthorized,
)
from .visit import Visit

F = TypeVar("F", bound=Callable[..., Any])

#: Channels that one stream may name; a browser's URL has room for about as many.
CHANNELS = 100

#: Bytes of a query: what nginx takes of a request's whole line (large_client_header_buffers), and the most that
#: gunicorn can be set to (limit_request_line, 4094 by default). Other servers let more in.
QUERY_BYTES = 8190


class Pattern:
    """Channels by a pattern such as ``jobs:<job_id>``; a name in brackets matches anything but a colon.

    :raises InvalidChannel: the pattern cannot name a channel that clients may name.
    """

    _VARIABLE = re.compile(r"<([A-Za-z_][A-Za-z0-9_]*)>")

    def __init__(self, text: str) -> None:
        wire.check_channel(text)
        if not wire.is_named(text):
            raise InvalidChannel(
                "%r: '*' is everyone's and 'user:...' its user's; neither takes a rule of its own" % text
            )
        parts = self._VARIABLE.split(text)
        self.names = parts[1::2]
        if len(set(self.names)) < len(self.names) or "<" in "".join(parts[::2]):
            raise InvalidChannel("%r: variables are written <name>, each once" % text)
        self.text = text
        self._parts = parts
        pieces = ("(?P<%s>[^:\\r\\n\\0]+)" % part if index % 2 else re.escape(part) for index, part in enumerate(parts))
        self._expression = re.compile("".join(pieces))

    def match(self, channel: str) -> dict[str, str] | None:
        """The variables' values, if this channel is one of the pattern's; never for one that clients may not name."""
        found = self._expression.fullmatch(channel) if wire.is_named(channel) else None
        return found.groupdict() if found else None

    def fill(self, values: dict[str, Any]) -> str:
        """The channel with these values for its variables.

        :raises BadRequest: a value has a colon or a line break in it, is empty, or makes it too long.
        """
        parts = [str(values[part]) if index % 2 else part for index, part in enumerate(self._parts)]
        channel = "".join(parts)
        if self.match(channel) is None or len(channel) > wire.CHANNEL_LENGTH:
            raise BadRequest("%r is not a channel of %r" % (channel, self.text), channel)
        return channel


class Rule(NamedTuple):
    """What an application says of the channels of a pattern."""

    pattern: Pattern
    function: Callable[..., Any]


class Rules:
    """The rules of an application: the first pattern that matches a channel decides."""

    def __init__(self) -> None:
        self.identify: Callable[[], Any] = _flask_login
        self.authorize: list[Rule] = []
        self.snapshot: list[Rule] = []
        self.latest: list[Pattern] = []
        self.tracked: list[Pattern] = []
        self._is_everyone_tracked = False
        #: Whether the current request may see the status page; None: there is none.
        self.status: Callable[[], Any] | None = None

    def add(self, rules: list[Rule], text: str) -> Callable[[F], F]:
        """A decorator that adds a rule."""
        pattern = Pattern(text)
        if any(rule.pattern.text == text for rule in rules):
            raise ApplicationError("%r has a rule already; a channel's first rule decides" % text)

        if rules is self.authorize and "user_id" in pattern.names:
            raise ApplicationError("%r: user_id is the user who asks; give the variable another name" % text)

        def register(function: F) -> F:
            rules.append(Rule(pattern, function))
            return function

        return register

    def track(self, text: str) -> None:
        """Know who is on the channels of this pattern, or, with ``*``, who is there at all."""
        if text == wire.EVERYONE:
            self._is_everyone_tracked = True
        else:
            self.tracked.append(Pattern(text))

    def is_tracked(self, channel: str) -> bool:
        return _any(self.tracked, channel) or (self._is_everyone_tracked and channel == wire.EVERYONE)

    def keeps_latest(self, channel: str) -> bool:
        """Whether of this channel's events only the newest of each name counts."""
        return _any(self.latest, channel)

    # -- who ---------------------------------------------------------------

    def user(self) -> Any:
        """The user of the current request, as its ticket says, or else ``identify``; None for nobody.

        :raises InvalidIdentity: it is neither text, an int nor a UUID.
        :raises BadTicket: there is a ticket, and it is not good.
        """
        visit = Visit.of(request.environ) if has_request_context() else None
        ticket = tickets.presented()
        if ticket is not None:
            return ticket.user
        found = visit.who[0] if visit and visit.who else self.identify()
        try:
            text_of(found)
        except InvalidEvent as error:
            raise InvalidIdentity("identify returned %r: %s" % (found, error)) from None
        return found

    # -- what --------------------------------------------------------------

    def check(self, user_id: Any, channels: Iterable[str]) -> None:
        """Whether this user may read all of these channels.

        :param user_id: as ``identify`` says it, so that a rule compares it with what the application stores.
        :raises Forbidden: no rule allows one of them.
        :raises Unauthorized: a rule may, once somebody is logged in.
        """
        ticket = tickets.presented()
        for channel in channels:
            if ticket is not None and ticket.channels is not None and channel not in ticket.channels:
                raise Forbidden("the ticket is not for the channel %r" % channel, channel)
            rule, values = _first(self.authorize, channel)
            if rule is None:
                raise Forbidden("no rule allows the channel %r" % channel, channel)
            if not rule.function(user_id, **values):
                if user_id is None:
                    raise Unauthorized("the channel %r needs a user; log in first" % channel, channel)
                raise Forbidden("you may not read the channel %r" % channel, channel)

    def snapshots(self, channels: Sequence[str]) -> Iterable[bytes]:
        """The first events of new subscriptions, as bodies."""
        for channel in channels:
            rule, values = _first(self.snapshot, channel)
            if rule is not None:
                for event, data in rule.function(**values) or ():
                    yield wire.body(channel, data, event)


def text_of(user: Any) -> str | None:
    """A user's id as channels and places have it: text; None for nobody."""
    return None if user is None else wire.check_user_id(user)


def named(asked: Sequence[str], user_id: str | None) -> list[str]:
    """The channels that a client names, each once, without those that it has anyway.

    :raises BadRequest: a name that no channel can have, or too many of them.
    :raises Forbidden: another user's channel.
    """
    if len(asked) > CHANNELS:
        raise BadRequest("a stream names at most %d channels; this one names %d" % (CHANNELS, len(asked)))
    channels = list(dict.fromkeys(asked))
    for channel in channels:
        try:
            wire.check_channel(channel)
        except InvalidChannel as error:
            raise BadRequest(str(error), channel) from None
    own = personal(user_id)
    for channel in channels:
        if not wire.is_named(channel) and channel not in own:
            raise Forbidden("the channel %r is its user's alone" % channel, channel)
    return [channel for channel in channels if channel not in own]


def check_query(query: str) -> None:
    """Refuse a query before anything takes it apart.

    :raises QueryTooLong: it is.
    """
    if len(query) > QUERY_BYTES:
        raise QueryTooLong("a query has at most %d bytes; this one has %d" % (QUERY_BYTES, len(query)))


def personal(user_id: str | None) -> list[str]:
    """The channels that a client has by being who it is."""
    own = [] if user_id is None else [wire.user_channel(user_id)]
    return own + [wire.EVERYONE]


class Places:
    """How many streams a user holds, over all workers.

    :param limit: ``SSEMUX_MAX_STREAMS_PER_USER``.
    """

    def __init__(self, broker: Broker, limit: int) -> None:
        self._broker = broker
        self.limit = limit

    def take(self, user_id: str | None) -> bool:
        """Whether there is a place for one stream more; visitors who are nobody are not counted.

        :raises BrokerUnavailable: nobody can tell.
        """
        return user_id is None or self._broker.hold(wire.user_channel(user_id), self.limit)

    def leave(self, user_id: str | None) -> None:
        if user_id is not None:
            self._broker.release(wire.user_channel(user_id))


def _any(patterns: list[Pattern], channel: str) -> bool:
    return any(pattern.match(channel) is not None for pattern in patterns)


def _first(rules: list[Rule], channel: str) -> tuple[Rule | None, dict[str, str]]:
    for rule in rules:
        values = rule.pattern.match(channel)
        if values is not None:
            return rule, values
    return None, {}


def _flask_login() -> Any:
    """The default of ``identify``: Flask-Login's current user, where it is set up."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    return current_user.get_id() if current_user.is_authenticated else None
