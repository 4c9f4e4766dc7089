"""Streams at URLs of their own (``SSEMux.add_stream``): where they are registered, and which rules they need.

``open_stream.py`` turns a request into a stream, and the rules decide who may read a channel.
"""

from __future__ import annotations

import re
from itertools import count
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from flask import Blueprint, Flask, Response, current_app

from ..access.patterns import Pattern
from ..access.rules import Rules
from ..errors import ApplicationError, ConfigurationError
from ..state import get_current_state
from . import hosts
from .open_stream import serve_stream
from .stream_request import StreamRequest
from .stream_source import StreamSource, Subscription
from .views import name_view

#: A variable in a URL rule, with or without a converter.
_URL_VARIABLE = re.compile(r"<(?:[^<>:]+:)?([^<>:]+)>")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class StreamOptions(NamedTuple):
    """The arguments of ``SSEMux.add_stream``, which explains them."""

    url: str
    channels: Sequence[str]
    endpoint: str
    personal: bool
    public: bool
    decorators: Sequence[Decorator]
    blueprint: Blueprint | None


class FixedStream:
    """A stream whose channels the application names. One object serves all applications of one ``SSEMux``.

    :param known: the streams that were added before. Their views have other names.
    :raises InvalidChannel: clients may not name one of the channels.
    :raises ApplicationError: a channel has a variable that the URL does not have, or the endpoint is not valid.
    """

    def __init__(self, options: StreamOptions, rules: Rules, known: Sequence[FixedStream] = ()) -> None:
        if isinstance(options.channels, str):
            raise ApplicationError("channels is a list of names; write [%r]" % options.channels)
        self._options = options
        self._rules = rules
        self._patterns = [Pattern(channel) for channel in options.channels]
        if options.blueprint is None:
            self._check_variables(set(_URL_VARIABLE.findall(options.url)))
        elif "." in options.endpoint:
            raise ApplicationError("%r: a stream of a blueprint has an endpoint without a dot" % options.endpoint)
        self.endpoint = options.endpoint
        self.view_name: str = self._choose_view_name({stream.view_name for stream in known})
        self.view = self._make_view()

    def _check_variables(self, known: set[str]) -> None:
        for pattern in self._patterns:
            if not set(pattern.names) <= known:
                raise ApplicationError(
                    "%r has a variable that the URL %r does not have" % (pattern.text, self._options.url)
                )

    def _choose_view_name(self, taken: set[str]) -> str:
        """Return a name that no other stream's view has, whichever blueprint it belongs to."""
        blueprint = self._options.blueprint
        name = self.endpoint if blueprint is None else "%s_%s" % (blueprint.name, self.endpoint)
        name = name.replace(".", "_")
        names = (name if number == 1 else "%s_%d" % (name, number) for number in count(1))
        return next(name for name in names if name not in taken)

    def _make_view(self) -> Callable[..., Response]:
        options = self._options

        def view(**values: Any) -> Response:
            self._check_served()
            return serve_stream(get_current_state().worker, FixedSource(self._rules, self._patterns, values, options))

        name_view(view, self.view_name)
        decorated: Callable[..., Response] = view
        for decorator in options.decorators:
            decorated = decorator(decorated)
        return decorated

    def register_on_app(self, app: Flask) -> None:
        """Register the stream with an application, unless the stream is registered with a blueprint."""
        if self._options.blueprint is None:
            for rule_options in hosts.make_rule_options(app):
                app.add_url_rule(self._options.url, self.endpoint, self.view, **rule_options)

    def register_on_blueprint(self) -> None:
        """Register the stream with its blueprint, if it has one.

        :raises ApplicationError: the blueprint is registered already, and that application would not get the stream.
        """
        blueprint = self._options.blueprint
        if blueprint is None:
            return
        if getattr(blueprint, "_got_registered_once", False):
            raise ApplicationError(
                "the blueprint %r is registered with an application already: call add_stream(%r, ...) before "
                "app.register_blueprint" % (blueprint.name, self._options.url)
            )
        blueprint.record(self._register_on_setup)

    def _register_on_setup(self, state: Any) -> None:
        for rule_options in hosts.make_rule_options(state.app):
            state.add_url_rule(self._options.url, self.endpoint, self.view, **rule_options)

    # -- who may read it: asked when all rules and blueprints are known ------

    def find_errors(self, app: Flask) -> Iterator[str]:
        """Yield why this stream must not, or cannot, be served as it is registered."""
        yield from self._find_refusals(app)
        names = {name for pattern in self._patterns for name in pattern.names}
        for rule in app.url_map.iter_rules():
            if app.view_functions.get(rule.endpoint) is self.view:
                for name in names - set(rule.arguments) - set(rule.defaults or ()):
                    yield "the stream %s is not served: its URL has no variable <%s>" % (rule.rule, name)

    def find_warnings(self) -> Iterator[str]:
        """Yield what is probably a mistake: channels that the URL fills in, and that no rule can match."""
        for pattern in [] if self._options.public else self._patterns:
            may_overlap = (rule.pattern.may_overlap(pattern) for rule in self._rules.authorize)
            if pattern.names and not any(may_overlap):
                yield self._describe_missing_rule(pattern, "answers 403 to everyone")

    def _find_refusals(self, app: Flask) -> Iterator[str]:
        """Yield why this stream answers no request. A channel that the URL fills in does not count: its requests are
        answered with 403."""
        options = self._options
        parent = "" if options.blueprint is not None else options.endpoint.rpartition(".")[0]
        if parent and parent not in app.blueprints:
            yield (
                "the stream %s is not served: its endpoint %r names a blueprint that is not registered, whose "
                "before_request functions would not run; register it, or choose an endpoint without a dot"
                % (options.url, options.endpoint)
            )
        for pattern in self._patterns:
            if not (options.public or pattern.names or self._rules.find_pattern(pattern.text) is not None):
                yield self._describe_missing_rule(pattern, "is not served")

    def _describe_missing_rule(self, pattern: Pattern, effect: str) -> str:
        options = self._options
        return (
            "the stream %s %s: no rule says who may read its channel %r; either add a rule, "
            "@mux.authorize(%r), or say that everyone may read it, add_stream(%r, channels=%r, public=True)"
            % (options.url, effect, pattern.text, pattern.text, options.url, list(options.channels))
        )

    def _check_served(self) -> None:
        """
        :raises ConfigurationError: this stream answers no request; says why, and how to mend it.
        """
        for error in self._find_refusals(current_app._get_current_object()):  # type: ignore[attr-defined]
            raise ConfigurationError(error)


class FixedSource(StreamSource):
    """One request for a fixed stream.

    :param values: of the URL's variables.
    """

    def __init__(
        self, rules: Rules, patterns: Sequence[Pattern], values: dict[str, Any], options: StreamOptions
    ) -> None:
        super().__init__(rules)
        self._patterns = patterns
        self._values = values
        self._options = options

    def authorize(self, asked: StreamRequest) -> Subscription:
        rules, reader = self._rules, self._identify(asked)
        channels = [pattern.fill(self._values) for pattern in self._patterns]
        checked = channels
        if self._options.public:
            checked = [channel for channel in channels if rules.find_pattern(channel) is not None]
        rules.check_channels(reader, checked)
        own = reader.own_channels if self._options.personal else ()
        return Subscription(reader, [*channels, *own], checked, (), self._find_snapshots())
