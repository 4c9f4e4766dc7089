"""Which channels have a feed, and the generator function of each (``SSEMux.feed``). Nothing runs here."""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import Any, Callable, Mapping, NamedTuple, Sequence

from ..errors import ApplicationError
from ..runs.feed import FeedWork
from ..runs.yields import TextMeaning
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
    """

    pattern: Pattern
    function: Callable[..., Any]
    meaning: TextMeaning
    linger: float


class FeedRules:
    """The feeds of an application. The first rule that matches a channel decides."""

    def __init__(self) -> None:
        self._rules: list[FeedRule] = []
        #: Whether any channel has a feed.
        self.is_used = False

    def add_rule(
        self,
        text: str,
        function: Callable[..., Any],
        meaning: TextMeaning = TextMeaning.EITHER,
        linger: float = LINGER,
    ) -> None:
        """Run this function's generator for the channels of a pattern.

        :raises InvalidChannel: clients cannot name such channels.
        :raises ApplicationError: the function cannot be a feed; another feed has such a channel; or ``linger`` is no
            number of seconds.
        """
        _check_function(text, function)
        if isinstance(linger, bool) or not isinstance(linger, (int, float)) or not 0 <= linger <= 3600:
            raise ApplicationError("linger=%s: must be seconds from 0 to 3600" % show_value(linger))
        pattern = Pattern(text)
        for rule in self._rules:
            if _overlap(rule.pattern, pattern):
                raise ApplicationError(
                    "the feeds %r and %r are for the same channel; a channel has one feed: change one of the patterns"
                    % (rule.pattern.text, text)
                )
        self._rules.append(FeedRule(pattern, function, meaning, linger))
        self.is_used = True

    def find_work(self, channel: str) -> FeedWork | None:
        """Return what runs for a channel; None if it has no feed."""
        for rule in self._rules:
            values = rule.pattern.match(channel)
            if values is not None:
                return FeedWork(channel, partial(rule.function, **values), rule.meaning, rule.linger)
        return None


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


def adapt_old_view(url: str, view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls an old view as Flask does, and returns the body of its response.

    :param url: the rule of the view, whose converters apply.
    :raises ApplicationError: the view cannot be a feed.
    """
    _check_function(url, view)
    view = getattr(view, "_ssemux_view", view)  # without ``@streaming``, which needs a request
    converters = {name: _CONVERTERS[kind] for kind, name in _URL_VARIABLE.findall(url) if kind in _CONVERTERS}

    def call_view(**values: str) -> Any:
        returned = view(**_convert(values, converters))
        first = returned[0] if isinstance(returned, tuple) and returned else returned
        return getattr(first, "response", first)

    return call_view


def _convert(values: Mapping[str, str], converters: Mapping[str, Callable[[str], Any]]) -> dict[str, Any]:
    return {name: converters.get(name, str)(value) for name, value in values.items()}
