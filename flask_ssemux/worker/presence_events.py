"""Publishes who arrives on a channel and who leaves it, and sends the signals for it.

Which changes there are is decided in the broker's rosters; ``hub/roster.py`` calls this for those of this process.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

from ..access.presence_rules import PresenceRules
from ..brokers import JOIN, Change
from ..errors import BadRequest, InvalidEvent
from ..options import log
from .signals import SignalSender, user_joined, user_left


class PresenceEvents:
    """
    :param rules: of the application.
    :param publish_many: publishes events, as dicts with ``channel``, ``data`` and ``event``.
    :param signals: sends the signals.
    """

    def __init__(self, rules: PresenceRules, publish_many: Callable[..., Any], signals: SignalSender) -> None:
        self._rules = rules
        self._publish_many = publish_many
        self._signals = signals
        self.get_grace = rules.get_grace

    @property
    def follows_changes(self) -> bool:
        return self._rules.follows_changes

    def announce_changes(self, changes: Sequence[Change]) -> None:
        """See ``ChangeListener.announce_changes``."""
        events = [event for change in changes for event in self._make_events(change)]
        if events:
            self._publish(events)
        for change in changes:
            signal = user_joined if change.kind == JOIN else user_left
            self._signals.send_later(signal, user=change.user, channel=change.channel)

    def _make_events(self, change: Change) -> list[dict[str, Any]]:
        """Return the event of a change; nothing if it can have none."""
        try:
            target = self._rules.get_target(change.channel)
        except BadRequest as error:
            log.warning("a %s of the user %r cannot be published: %s", change.kind, change.user, error)
            return []
        data = {"user": change.user, "channel": change.channel}
        return [{"channel": target, "data": data, "event": change.kind}]

    def _publish(self, events: list[dict[str, Any]]) -> None:
        try:
            self._publish_many(events, on_error="raise")
        except InvalidEvent:  # one of them is too large: the others are published
            for event in events:
                self._publish_many([event], on_error="log")
