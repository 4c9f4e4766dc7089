"""Who is this, and which channels may they read.

The application's rules and the decisions made by them. The answer without a
rule is no. What an answer looks like over HTTP is not decided here.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterable, NamedTuple, Sequence, TypeVar

from flask import current_app, has_request_context, request

from ..errors import (
    ApplicationError,
    BadRequest,
    Forbidden,
    InvalidAnswer,
    InvalidChannel,
    InvalidEvent,
    InvalidIdentity,
    QueryTooLong,
    Unauthorized,
)
from ..sse import encode
from ..util.request_override import find_override
from . import tickets
from .patterns import Pattern

F = TypeVar("F", bound=Callable[..., Any])

#: Channels that one stream may name; a browser's URL has room for about as many.
CHANNELS = 100

#: Bytes of a query: what nginx takes of a request's whole line (large_client_header_buffers), and the most that
#: gunicorn can be set to (limit_request_line, 4094 by default). Other servers let more in.
QUERY_BYTES = 8190


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
        if text == encode.EVERYONE:
            self._is_everyone_tracked = True
        else:
            self.tracked.append(Pattern(text))

    def is_tracked(self, channel: str) -> bool:
        return _any(self.tracked, channel) or (self._is_everyone_tracked and channel == encode.EVERYONE)

    def keeps_latest(self, channel: str) -> bool:
        """Whether of this channel's events only the newest of each name counts."""
        return _any(self.latest, channel)

    # -- who ---------------------------------------------------------------

    def user(self) -> Any:
        """The user of the current request, as its ticket says, or else ``identify``; None for nobody.

        :raises InvalidIdentity: it is neither text, an int nor a UUID.
        :raises BadTicket: there is a ticket, and it is not good.
        """
        override = find_override(request.environ) if has_request_context() else None
        ticket = tickets.presented()
        if ticket is not None:
            return ticket.user
        found = override.user[0] if override and override.user else self.identify()
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
        :raises InvalidAnswer: a rule answered neither yes nor no.
        """
        ticket = tickets.presented()
        for channel in channels:
            if ticket is not None and ticket.channels is not None and channel not in ticket.channels:
                raise Forbidden("the ticket is not for the channel %r" % channel, channel)
            rule, values = _first(self.authorize, channel)
            if rule is None:
                raise Forbidden("no rule allows the channel %r" % channel, channel)
            if not is_yes(rule.function(user_id, **values), "the rule for %r" % rule.pattern.text):
                if user_id is None:
                    raise Unauthorized("the channel %r needs a user; log in first" % channel, channel)
                raise Forbidden("you may not read the channel %r" % channel, channel)

    def has_rule(self, channel: str) -> bool:
        """Whether a rule says who may read this channel."""
        return _first(self.authorize, channel)[0] is not None

    def rule_of(self, channel: str) -> str | None:
        """The pattern of the rule that says who may read this channel; None without one."""
        rule, _ = _first(self.authorize, channel)
        return None if rule is None else rule.pattern.text

    def check_status(self) -> None:
        """Whether the current request may see the status.

        :raises Forbidden: the application says no.
        :raises InvalidAnswer: it says neither yes nor no.
        """
        if self.status is None or not is_yes(self.status(), "allow_status"):
            raise Forbidden("the application's allow_status says no")

    def snapshots(self, channels: Sequence[str]) -> Iterable[bytes]:
        """The first events of new subscriptions, as bodies."""
        for channel in channels:
            rule, values = _first(self.snapshot, channel)
            if rule is not None:
                for event, data in rule.function(**values) or ():
                    yield encode.body(channel, data, event)


def is_yes(answer: Any, who: str) -> bool:
    """Whether this is a yes. What only looks like one (a coroutine, a method, a query) lets nobody in.

    :param who: answered.
    :raises InvalidAnswer: it is neither True, False, a number nor None.
    """
    if answer is None or isinstance(answer, int):
        return bool(answer)
    if inspect.iscoroutine(answer):
        answer.close()  # or Python complains that nobody awaited it
    raise InvalidAnswer("%s answered %r; it answers True or False, and is no async function" % (who, answer))


def text_of(user: Any) -> str | None:
    """A user's id as channels and places have it: text; None for nobody."""
    return None if user is None else encode.check_user_id(user)


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
            encode.check_channel(channel)
        except InvalidChannel as error:
            raise BadRequest(str(error), channel) from None
    own = personal(user_id)
    for channel in channels:
        if not encode.is_named(channel) and channel not in own:
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
    own = [] if user_id is None else [encode.user_channel(user_id)]
    return own + [encode.EVERYONE]


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
