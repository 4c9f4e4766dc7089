"""Streams at URLs of their own (``SSEMux.add_stream``): where they are registered, and whether a rule says who reads.

What such a stream answers is ``views.py``'s, and who may read a channel is said by the rules. No stream is open here.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from flask import Blueprint, Flask, Response, current_app

from ..access.patterns import Pattern
from ..access.rules import Rules
from ..errors import ApplicationError, ConfigurationError
from . import hosts
from .views import fixed, name_view

#: A variable in a URL rule, with or without a converter.
_URL_VARIABLE = re.compile(r"<(?:[^<>:]+:)?([^<>:]+)>")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Wish(NamedTuple):
    """What the application said of the stream; see ``SSEMux.add_stream``."""

    url: str
    channels: Sequence[str]
    endpoint: str
    personal: bool
    public: bool
    decorators: Sequence[Decorator]
    blueprint: Blueprint | None


class FixedStream:
    """A stream whose channels the application names. One object serves all applications of an ``SSEMux``.

    :raises InvalidChannel: a channel that clients may not name.
    :raises ApplicationError: a variable that the URL does not have, or an endpoint that cannot be.
    """

    def __init__(self, wish: Wish, rules: Rules) -> None:
        if isinstance(wish.channels, str):
            raise ApplicationError("channels is a list of names; write [%r]" % wish.channels)
        self._wish = wish
        self._rules = rules
        self._patterns = [Pattern(channel) for channel in wish.channels]
        if wish.blueprint is None:
            self._check_variables(set(_URL_VARIABLE.findall(wish.url)))
        elif "." in wish.endpoint:
            raise ApplicationError("%r: the endpoint of a blueprint's stream has no dot in it" % wish.endpoint)
        self.endpoint = wish.endpoint
        self.view = self._make_view()

    def _check_variables(self, known: set[str]) -> None:
        for pattern in self._patterns:
            if not set(pattern.names) <= known:
                raise ApplicationError(
                    "%r has a variable that the URL %r does not have" % (pattern.text, self._wish.url)
                )

    def _make_view(self) -> Callable[..., Response]:
        wish = self._wish
        view: Callable[..., Response] = fixed(self._patterns, wish.personal, wish.public, self._refuse)
        name_view(view, wish.endpoint)
        for decorator in wish.decorators:
            view = decorator(view)
        return view

    def register(self, app: Flask) -> None:
        """Register the stream with an application; one of a blueprint is registered with its blueprint."""
        if self._wish.blueprint is None:
            for options in hosts.rule_options(app):
                app.add_url_rule(self._wish.url, self.endpoint, self.view, **options)

    def register_on_blueprint(self) -> None:
        """Register the stream with its blueprint, if it has one.

        :raises ApplicationError: the blueprint was registered with an application before, which would not notice.
        """
        blueprint = self._wish.blueprint
        if blueprint is None:
            return
        if getattr(blueprint, "_got_registered_once", False):
            raise ApplicationError(
                "the blueprint %r is registered with an application already: call add_stream(%r, ...) before "
                "app.register_blueprint" % (blueprint.name, self._wish.url)
            )
        blueprint.record(self._register_with)

    def _register_with(self, state: Any) -> None:
        for options in hosts.rule_options(state.app):
            state.add_url_rule(self._wish.url, self.endpoint, self.view, **options)

    # -- who may read it -----------------------------------------------------

    # All rules and blueprints must be known when these are asked.

    def troubles(self, app: Flask) -> Iterator[str]:
        """Yield why this stream must not, or cannot, be served as it stands."""
        yield from self._why_refused(app)
        names = {name for pattern in self._patterns for name in pattern.names}
        for rule in app.url_map.iter_rules():
            if app.view_functions.get(rule.endpoint) is self.view:
                for name in names - set(rule.arguments) - set(rule.defaults or ()):
                    yield "the stream %s is not served: its URL has no variable <%s>" % (rule.rule, name)

    def doubts(self) -> Iterator[str]:
        """Yield what is probably a mistake: channels that the URL fills in, and that no rule can match."""
        for pattern in [] if self._wish.public else self._patterns:
            may_meet = (rule.pattern.may_meet(pattern) for rule in self._rules.authorize)
            if pattern.names and not any(may_meet):
                yield self._unruled(pattern, "answers 403 to everyone")

    def _why_refused(self, app: Flask) -> Iterator[str]:
        """Yield why no request of this stream is answered. A channel that a URL fills in has its own answer: 403."""
        wish = self._wish
        parent = "" if wish.blueprint is not None else wish.endpoint.rpartition(".")[0]
        if parent and parent not in app.blueprints:
            yield (
                "the stream %s is not served: its endpoint %r names a blueprint that is not registered, so no guard of "
                "it holds; register it, or choose an endpoint without a dot" % (wish.url, wish.endpoint)
            )
        for pattern in self._patterns:
            if not (wish.public or pattern.names or self._rules.has_rule(pattern.text)):
                yield self._unruled(pattern, "is not served")

    def _unruled(self, pattern: Pattern, what: str) -> str:
        wish = self._wish
        return (
            "the stream %s %s: no rule says who may read its channel %r; either add a rule, "
            "@mux.authorize(%r), or say that everyone may read it, add_stream(%r, channels=%r, public=True)"
            % (wish.url, what, pattern.text, pattern.text, wish.url, list(wish.channels))
        )

    def _refuse(self) -> None:
        """Let no request in, if the application has not said who may.

        :raises ConfigurationError: why, and how to mend it.
        """
        for trouble in self._why_refused(current_app._get_current_object()):  # type: ignore[attr-defined]
            raise ConfigurationError(trouble)
