"""Which channels' presence is tracked, and where arrivals and departures are published (``SSEMux.track_presence``).

Nothing is counted or published here.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ..brokers import MAX_GRACE
from ..errors import ApplicationError
from ..sse import encode
from .patterns import Pattern


class PresenceRule(NamedTuple):
    """
    :param pattern: the channels; None: everyone's.
    :param target: where the changes are published; None: on the channel itself, if there is a grace period.
    :param grace: how many seconds a user may be away before they leave; None: changes are not followed.
    """

    pattern: Pattern | None
    target: Pattern | None
    grace: float | None

    def match(self, channel: str) -> dict[str, str] | None:
        """Return the variables' values if the rule is for this channel."""
        if self.pattern is None or channel == encode.EVERYONE:
            return {} if self.pattern is None and channel == encode.EVERYONE else None
        return self.pattern.match(channel)


class PresenceRules:
    """The first rule that matches a channel decides."""

    def __init__(self) -> None:
        self._rules: list[PresenceRule] = []
        self._by_text: dict[str, PresenceRule] = {}
        #: Whether presence is tracked on any channel.
        self.is_used = False

    def add_rule(self, text: str, events: bool | str, grace: float) -> None:
        """Track presence on the channels of this pattern; ``*`` tracks who is connected at all.

        :raises InvalidChannel: the pattern, or that of the events' channel, is not valid.
        :raises ApplicationError: the changes cannot be published on this channel; or the grace period is out of range.
        """
        pattern = None if text == encode.EVERYONE else Pattern(text)
        target = Pattern(events) if isinstance(events, str) else None
        if events:
            _check_events(text, set(pattern.names) if pattern else set(), target)
            _check_grace(grace)
        self._append_rule(text, PresenceRule(pattern, target, grace if events else None))

    def _append_rule(self, text: str, rule: PresenceRule) -> None:
        """
        :raises ApplicationError: the pattern has another rule.
        """
        known = self._by_text.setdefault(text, rule)
        if known is rule:
            self._rules.append(rule)
            self.is_used = True
        elif _describe(known) != _describe(rule):
            raise ApplicationError(
                "track_presence(%r) was called before with %s, and now with %s; call it once for each pattern"
                % (text, _describe(known), _describe(rule))
            )

    @property
    def follows_changes(self) -> bool:
        """Whether the changes of any channel are published."""
        return any(rule.grace is not None for rule in self._rules)

    def find_tracked(self, channels: Sequence[str]) -> Sequence[str]:
        """Return those of these channels whose presence is tracked."""
        if not self._rules:
            return ()
        return [channel for channel in channels if self._find_rule(channel) is not None]

    def is_tracked(self, channel: str) -> bool:
        return bool(self.find_tracked((channel,)))

    def get_grace(self, channel: str) -> float | None:
        """Return the grace period of a channel whose changes are published; None for any other channel."""
        rule = self._find_rule(channel)
        return None if rule is None else rule.grace

    def get_target(self, channel: str) -> str:
        """Return the channel on which the changes of a channel are published.

        :raises BadRequest: the name of that channel would not be valid.
        """
        rule = self._find_rule(channel)
        if rule is None or rule.target is None:
            return channel
        return rule.target.fill(rule.match(channel) or {})

    def _find_rule(self, channel: str) -> PresenceRule | None:
        for rule in self._rules:
            if rule.match(channel) is not None:
                return rule
        return None


def _describe(rule: PresenceRule) -> str:
    if rule.grace is None:
        return "events=False"
    return "events=%r, grace=%g" % (True if rule.target is None else rule.target.text, rule.grace)


def _check_events(text: str, names: set[str], target: Pattern | None) -> None:
    """
    :raises ApplicationError: the changes cannot be published.
    """
    if target is None and text == encode.EVERYONE:
        raise ApplicationError(
            "track_presence('*', events=True) would tell every visitor who comes and goes; name a channel whose rule "
            "says who may know, as in track_presence('*', events='online')"
        )
    unknown = set() if target is None else set(target.names) - names
    if target is not None and unknown:
        raise ApplicationError(
            "track_presence(%r, events=%r): %r has no variable <%s>" % (text, target.text, text, min(unknown))
        )


def _check_grace(grace: float) -> None:
    """
    :raises ApplicationError: the grace period is not valid.
    """
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace <= MAX_GRACE:
        raise ApplicationError("grace=%r: must be seconds from 0 to %d" % (grace, MAX_GRACE))
