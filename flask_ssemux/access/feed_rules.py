"""Which channels have a feed, and the generator function of each (``SSEMux.feed``). Nothing runs here."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ..errors import ApplicationError
from ..runs.feed import FeedWork
from ..runs.yields import TextMeaning
from ..sse.encode import is_run_channel
from ..util.printable import show_value
from .patterns import Pattern

#: Seconds that a feed goes on after the last reader has left: a page that is loaded again is back by then.
LINGER = 5.0

#: A variable of a URL rule: its converter, with arguments, and its name.
_URL_VARIABLE = re.compile(r"<(?:(\w+)(?:\([^<>]*\))?:)?(\w+)>")

#: What an old view gets for a variable of the URL, by the converter.
_CONVERTERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float}


class FeedRule(NamedTuple):
    """
    :param pattern: the channels.
    :param function: is called with the pattern's variables by name; returns a generator.
    :param meaning: of the texts that the generator yields.
    :param linger: seconds from the end of the last reader's stream to the generator's end.
    :param converters: of those variables that are no texts, by name.
    """

    pattern: Pattern
    function: Callable[..., Any]
    meaning: TextMeaning
    linger: float
    converters: Mapping[str, Callable[[str], Any]] = {}

    def convert_values(self, texts: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the variables' values; None if a text is not the one by which a channel of the URL is named."""
        try:
            values = {name: self.converters.get(name, str)(text) for name, text in texts.items()}
        except ValueError:
            return None
        return values if {name: str(value) for name, value in values.items()} == texts else None


class FeedRules:
    """The feeds of an application. The first rule that matches a channel decides."""

    def __init__(self) -> None:
        self._rules: list[FeedRule] = []
        #: Whether any channel has a feed.
        self.is_used = False

    def add_rule(self, text: str, function: Callable[..., Any], linger: float = LINGER) -> None:
        """Run this function's generator for the channels of a pattern.

        :raises InvalidChannel: clients cannot name such channels.
        :raises ApplicationError: the function cannot be a feed; another feed has such a channel; or ``linger`` is no
            number of seconds.
        """
        _check_function(text, function)
        if isinstance(linger, bool) or not isinstance(linger, (int, float)) or not 0 <= linger <= 3600:
            raise ApplicationError("linger=%s: must be seconds from 0 to 3600" % show_value(linger))
        self._add(FeedRule(Pattern(text), function, TextMeaning.EITHER, linger))

    def add_old_view(self, text: str, url: str, view: Callable[..., Any]) -> None:
        """Run what an old view returns for the channels of a pattern.

        :param url: the rule of the view, whose converters apply.
        :raises InvalidChannel, ApplicationError: as ``add_rule``.
        """
        _check_function(url, view)
        view = getattr(view, "_ssemux_view", view)  # without ``@streaming``, which needs a request
        converters = {name: _CONVERTERS[kind] for kind, name in _URL_VARIABLE.findall(url) if kind in _CONVERTERS}
        self._add(FeedRule(Pattern(text), view, TextMeaning.FRAMES, LINGER, converters))

    def _add(self, new: FeedRule) -> None:
        _check_variables(new.pattern, new.function)
        for rule in self._rules:
            if _overlap(rule.pattern, new.pattern):
                raise ApplicationError(
                    "the feeds %r and %r are for the same channel; a channel has one feed: change one of the patterns"
                    % (rule.pattern.text, new.pattern.text)
                )
        self._rules.append(new)
        self.is_used = True

    def find_work(self, channel: str) -> FeedWork | None:
        """Return what runs for a channel; None if it has no feed. The events of a run come from its own generator."""
        if is_run_channel(channel):
            return None
        for rule in self._rules:
            texts = rule.pattern.match(channel)
            if texts is not None:
                values = rule.convert_values(texts)
                return None if values is None else _make_work(rule, channel, values)
        return None


def _make_work(rule: FeedRule, channel: str, values: Mapping[str, Any]) -> FeedWork:
    is_old = rule.meaning is TextMeaning.FRAMES
    make = partial(call_old_view, rule.function, **values) if is_old else partial(rule.function, **values)
    return FeedWork(channel, make, rule.meaning, rule.linger)


def _check_function(text: str, function: object) -> None:
    """
    :raises ApplicationError: the function cannot be a feed.
    """
    if inspect.isclass(function) or not callable(function):
        raise ApplicationError(
            "the feed %r is a function that returns a generator, not %s: write @mux.feed(%r) above the function, or "
            "feed=function without calling it" % (text, show_value(function), text)
        )
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ApplicationError(
            "the feed %r is an async function, and the loop that it needs does not run here: write the generator with "
            "def instead of async def" % text
        )


def _check_variables(pattern: Pattern, function: Callable[..., Any]) -> None:
    """
    :raises ApplicationError: the function cannot be called with the pattern's variables.
    """
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a decorator may add arguments
    except (ValueError, TypeError):  # a function that is written in C may have none
        return
    try:
        signature.bind(**dict.fromkeys(pattern.names))
    except TypeError as error:
        raise ApplicationError(
            "the feed %r is called with the variables of its pattern, (%s), but its function has the parameters %s: %s"
            % (pattern.text, ", ".join(pattern.names) or "none", signature, error)
        ) from None


def _overlap(first: Pattern, second: Pattern) -> bool:
    """Return whether a channel with ordinary values of the variables matches both patterns."""
    samples = (pattern.fill(dict.fromkeys(pattern.names, "x")) for pattern in (first, second))
    return any(first.match(sample) is not None and second.match(sample) is not None for sample in samples)


# -- old views ------------------------------------------------------------------------


def choose_channels(url: str, channels: Sequence[str] | None, feed: Callable[..., Any] | None) -> Sequence[str]:
    """Return the channels of a stream; if none are given, the one of its feed, which is named by the URL.

    :raises ApplicationError: there are neither channels nor a feed.
    """
    if channels is None and feed is not None:
        return [make_channel(url)]
    if not channels:
        raise ApplicationError(
            "add_stream(%r) needs channels, such as channels=['jobs'], or feed=function, a generator function whose "
            "events it sends" % url
        )
    return channels


def make_channel(url: str) -> str:
    """Return the channel, or its pattern, of a stream whose URL alone is given: ``/api/jobs/<int:id>`` becomes
    ``api/jobs/<id>``."""
    return _URL_VARIABLE.sub(lambda it: ("<path:%s>" if it[1] == "path" else "<%s>") % it[2], url).strip("/")


def call_old_view(view: Callable[..., Any], /, **values: Any) -> Any:
    """Call an old view as Flask does, and return the body of its response."""
    returned = view(**values)
    first = returned[0] if isinstance(returned, tuple) and returned else returned
    return getattr(first, "response", first)
