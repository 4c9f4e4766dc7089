"""The extension in one application: what ``app.extensions["ssemux"]`` holds, and how it is found.

No routes and no decorators: those use it.
"""

from __future__ import annotations

from typing import Any, Callable, Sequence

from flask import current_app

from .access import tickets
from .access.rules import Rules
from .brokers import Broker, call_at_home
from .errors import ApplicationError
from .options import Options
from .publishing.publisher import Publishing
from .worker.worker import Worker

#: Where the extension keeps itself in ``app.extensions``.
KEY = "ssemux"


class ApplicationState(Publishing):
    """The extension in one application: options, rules, and the parts of this process."""

    def __init__(self, options: Options, rules: Rules, worker: Worker) -> None:
        self.options = options
        self.rules = rules
        self.worker = worker
        self.max_event_bytes = options.max_event_bytes
        #: Whose answers are streams: endpoints; and views, which have an endpoint of their own in each blueprint.
        self.endpoints = {"ssemux.events"}
        self.views: set[Callable[..., Any]] = set()
        #: Find out which of the application's streams must not be served, and which are probably a mistake, and why.
        #: Set by the extension.
        self.troubles: Callable[[], list[str]] = list
        self.doubts: Callable[[], list[str]] = list
        #: Whether they were logged.
        self.is_checked = False
        worker.published = lambda: self._published

    def _broker(self) -> Broker:
        return self.worker.broker

    def _store(self) -> Broker:
        call_at_home(self.worker.store_guard.check_publishing)
        return self.worker.broker

    def _keeps_latest(self, channel: str) -> bool:
        return self.rules.keeps_latest(channel)

    def ticket(self, user_id: Any, channels: Sequence[str] | None = None, expires: float = 60) -> str:
        """See ``flask_ssemux.ticket``."""
        return tickets.issue_ticket(user_id, channels, expires)

    def presence(self, channel: str) -> dict[str | None, int]:
        """See ``SSEMux.presence``."""
        if not self.rules.is_tracked(channel):
            raise ApplicationError(
                "nobody counts who is on the channel %r: call mux.track_presence(%r), or with a pattern that it "
                "matches, where the application is set up" % (channel, channel)
            )
        return {user or None: streams for user, streams in self._broker().presence.get_presence(channel).items()}


def current() -> ApplicationState:
    """The extension in the current application.

    :raises ApplicationError: there is no current application, or it has no extension.
    """
    if not current_app:
        raise ApplicationError(
            "flask_ssemux acts on the current application, and there is none here: use "
            "`with app.app_context():`, or flask_ssemux.Publisher(url) in a process without Flask"
        )
    if KEY not in current_app.extensions:
        raise ApplicationError("flask_ssemux is not set up for %r: call flask_ssemux.init_app(app)" % current_app.name)
    found: ApplicationState = current_app.extensions[KEY]
    return found
