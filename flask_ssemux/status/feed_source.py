"""The stream of the status page: one of its user's streams, counted and ended like any other.

Who may see the status is decided by ``allow_status``. What is shown comes from ``feed.py``.
"""

from __future__ import annotations

from flask import abort

from ..access.rules import Reader, Rules
from ..errors import Forbidden
from ..http.stream_request import PollMode, StreamRequest
from ..http.stream_source import StreamSource, Subscription
from .feed import StatusFeed


class FeedSource(StreamSource):
    """Streams a feed to those who may see the status."""

    def __init__(self, rules: Rules, feed: StatusFeed) -> None:
        super().__init__(rules)
        self._feed = feed

    def authorize(self, asked: StreamRequest, reader: Reader) -> Subscription:
        abort_unless_allowed(self._rules)
        feed = self._feed
        # The poll before one that waits got the current status.
        first_frame = b"" if asked.poll is PollMode.WAIT else feed.make_frame()
        return Subscription(
            (),
            None,
            on_open=lambda running, stream: feed.add_stream(stream, first_frame),
            on_closed=feed.remove_stream,
        )


def abort_unless_allowed(rules: Rules) -> None:
    """Answer the current request with 403 unless ``allow_status`` permits it."""
    try:
        rules.check_status()
    except Forbidden as error:
        abort(403, str(error))
