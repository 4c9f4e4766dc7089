"""The rules of an application, and what they decide: who the user of a request is, and which channels they may read.

A channel for which there is no rule is refused. How a refusal is sent over HTTP is not decided here.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterable, NamedTuple, Sequence, TypeVar

from flask import current_app

from ..errors import (
    ApplicationError,
    BadRequest,
    Forbidden,
    InvalidAnswer,
    InvalidChannel,
    InvalidEvent,
    InvalidIdentity,
    Unauthorized,
)
from ..publishing.app_json import make_json_writer
from ..runs.resume import ResumeFunctions
from ..sse import encode
from ..sse.data import JSONWriter
from ..util.request_override import RequestOverride
from .async_functions import make_synchronous
from .feed_rules import FeedRules
from .patterns import Pattern
from .presence_rules import PresenceRules
from .tickets import Ticket

F = TypeVar("F", bound=Callable[..., Any])

#: The maximum number of channels that one stream may name; the URL of a browser has room for about as many.
MAX_CHANNELS = 100


class Rule(NamedTuple):
    """A function of the application, and the channels that it is for."""

    pattern: Pattern
    function: Callable[..., Any]


class Reader(NamedTuple):
    """The user of a request.

    :param user: as ``identify`` returned it, so that a rule can compare it with what the application stores.
    :param user_id: the same as text; None for an anonymous visitor.
    :param own_channels: the channels that this user reads without naming them.
    :param ticket: the ticket that identified the user, if one did.
    """

    user: Any
    user_id: str | None
    own_channels: Sequence[str]
    ticket: Ticket | None = None

    @classmethod
    def of(cls, user: Any, ticket: Ticket | None = None) -> Reader:
        """
        :raises InvalidIdentity: ``user`` is neither None, text, an int nor a UUID.
        """
        if user is None:
            return ANONYMOUS if ticket is None else cls(None, None, ANONYMOUS.own_channels, ticket)
        try:
            channel = encode.user_channel(user)
        except InvalidEvent as error:
            raise InvalidIdentity("identify returned %r: %s" % (user, error)) from None
        return cls(user, channel[len(encode.USER_PREFIX) :], (channel, encode.EVERYONE), ticket)


#: The reader of an anonymous visitor.
ANONYMOUS = Reader(None, None, (encode.EVERYONE,))


class Rules:
    """The rules of an application. Of each kind, the first rule whose pattern matches a channel decides."""

    def __init__(self) -> None:
        self.identify: Callable[[], Any] = _ask_flask_login
        self.authorize: list[Rule] = []
        self.snapshot: list[Rule] = []
        self.latest: list[Pattern] = []
        self.presence = PresenceRules()
        self.feeds = FeedRules()
        self.resume_functions = ResumeFunctions()
        #: Returns whether the current request may see the status page; None: there is no such page.
        self.status: Callable[[], Any] | None = None

    def add_rule(self, rules: list[Rule], text: str) -> Callable[[F], F]:
        """Return a decorator that adds a rule."""
        pattern = Pattern(text)
        if any(rule.pattern.text == text for rule in rules):
            raise ApplicationError("%r has a rule already; a channel's first rule decides" % text)

        if rules is self.authorize and "user_id" in pattern.names:
            raise ApplicationError("%r: user_id is the user who asks; give the variable another name" % text)

        def register(function: F) -> F:
            rules.append(Rule(pattern, make_synchronous(function) if rules is self.snapshot else function))
            return function

        return register

    def keeps_latest(self, channel: str) -> bool:
        """Return whether only the newest event of each name counts on this channel."""
        return bool(self.latest) and _matches_any(self.latest, channel)

    def find_template(self, channel: str) -> str | None:
        """Return the pattern of the rule of a channel, such as ``jobs:<job_id>``; None without a rule."""
        found = (rule.pattern.text for rule in self.authorize if rule.pattern.match(channel) is not None)
        return next(found, None)

    # -- who is the user? ----------------------------------------------------

    def identify_reader(self, ticket: Ticket | None, override: RequestOverride | None = None) -> Reader:
        """Return the user of the current request.

        :param ticket: if there is one, its bearer is the user, and ``identify`` is not asked.
        :param override: of a request that ``flask_ssemux.testing`` makes.
        :raises InvalidIdentity: ``identify`` returned something that is no user's id.
        """
        if ticket is not None:
            return Reader.of(ticket.user, ticket)
        if override is not None and override.user:
            return Reader.of(override.user[0])
        return Reader.of(self.identify())

    # -- what may the user read? ---------------------------------------------

    def check_channels(self, reader: Reader, channels: Iterable[str]) -> None:
        """Return if this user may read all of these channels.

        :raises Forbidden: no rule allows one of the channels.
        :raises Unauthorized: a rule refuses one of the channels to anonymous visitors.
        :raises InvalidAnswer: a rule returned neither True nor False.
        """
        user, ticket = reader.user, reader.ticket
        for channel in channels:
            if ticket is not None and ticket.channels is not None and channel not in ticket.channels:
                raise Forbidden("the ticket is not for the channel %r" % channel, channel)
            rule, values = _find_rule(self.authorize, channel)
            if rule is None:
                raise Forbidden("no rule allows the channel %r" % channel, channel)
            answer = rule.function(user, **values)
            if answer is not True and not is_permission(answer, "the rule for %r" % rule.pattern.text):
                if user is None:
                    raise Unauthorized("the channel %r needs a user; log in first" % channel, channel)
                raise Forbidden("you may not read the channel %r" % channel, channel)

    def check_named(self, reader: Reader, names: Sequence[str]) -> list[str]:
        """Return the channels that a client names, if this user may read all of them; see ``select_named``.

        :raises ClientError: as ``select_named`` and ``check_channels``.
        """
        channels = select_named(names, reader)
        self.check_channels(reader, channels)
        return channels

    def find_pattern(self, channel: str) -> str | None:
        """Return the pattern of the rule that says who may read this channel; None if there is no rule."""
        rule, _ = _find_rule(self.authorize, channel)
        return None if rule is None else rule.pattern.text

    def check_status(self) -> None:
        """Return if the current request may see the status page.

        :raises Forbidden: ``allow_status`` refused.
        :raises InvalidAnswer: ``allow_status`` returned neither True nor False.
        """
        if self.status is None or not is_permission(self.status(), "allow_status"):
            raise Forbidden("the application's allow_status refused this request")

    def make_snapshots(self, channels: Sequence[str]) -> Iterable[bytes]:
        """Yield the bodies of the first events of new subscriptions."""
        if not self.snapshot:
            return
        for channel in channels:
            rule, values = _find_rule(self.snapshot, channel)
            if rule is not None:
                writer = make_json_writer(current_app)
                for event, data in rule.function(**values) or ():
                    yield _make_snapshot_body(channel, data, event, writer)


def _make_snapshot_body(channel: str, data: Any, event: str | None, writer: JSONWriter) -> bytes:
    """
    :raises InvalidEvent: (or a subclass) without the event's data: nobody catches the error, so Flask logs it.
    """
    try:
        return encode.make_body(channel, data, event, writer=writer)
    except InvalidEvent as error:
        text = "the snapshot of the channel %r has an invalid event: %s" % (channel, error.for_log)
        raise type(error)(text) from None


def is_permission(answer: Any, who: str) -> bool:
    """Return whether this answer of an application permits.

    Coroutines, methods and queries are truthy in Python, but are not accepted as permission.

    :param who: what answered.
    :raises InvalidAnswer: the answer is neither True, False, a number nor None.
    """
    if answer is None or isinstance(answer, int):
        return bool(answer)
    if inspect.iscoroutine(answer):
        answer.close()  # or Python warns that it was never awaited
    raise InvalidAnswer("%s answered %r; it answers True or False, and is no async function" % (who, answer))


def select_named(names: Sequence[str], reader: Reader) -> list[str]:
    """Return the channels that a client names, each once, without those that it reads anyway.

    :raises BadRequest: a name is not valid for a channel, or there are too many names.
    :raises Forbidden: a channel belongs to another user.
    """
    if len(names) > MAX_CHANNELS:
        raise BadRequest("a stream names at most %d channels; this one names %d" % (MAX_CHANNELS, len(names)))
    channels = list(dict.fromkeys(names))
    for channel in channels:
        try:
            encode.check_channel(channel)
        except InvalidChannel as error:
            raise BadRequest(str(error), channel) from None
    for channel in channels:
        if not encode.is_named(channel) and channel not in reader.own_channels:
            is_run = encode.is_run_channel(channel)
            reason = "a run's, which is read at its own URL" if is_run else "for its user only"
            raise Forbidden("the channel %r is %s" % (channel, reason), channel)
    return [channel for channel in channels if channel not in reader.own_channels]


def _matches_any(patterns: list[Pattern], channel: str) -> bool:
    return any(pattern.match(channel) is not None for pattern in patterns)


def _find_rule(rules: list[Rule], channel: str) -> tuple[Rule | None, dict[str, str]]:
    for rule in rules:
        values = rule.pattern.match(channel)
        if values is not None:
            return rule, values
    return None, {}


def _ask_flask_login() -> Any:
    """The default of ``identify``: the current user of Flask-Login, if the application uses it."""
    if not hasattr(current_app, "login_manager"):
        return None
    from flask_login import current_user

    return current_user.get_id() if current_user.is_authenticated else None
