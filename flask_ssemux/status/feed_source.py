"""The stream of the status page: one of its user's streams, counted and ended like any other.

Who may see the status is decided by ``allow_status``. What is shown comes from ``feed.py``.
"""

from __future__ import annotations

from flask import abort

from ..access.rules import Reader, Rules
from ..errors import Forbidden
from ..http.stream_request import PollMode, StreamRequest
from ..http.stream_source import StreamSource, Subscription
from ..hub.stream import Stream
from ..worker.running import RunningWorker
from .feed import StatusFeed


class FeedSource(StreamSource):
    """One request for a feed, of those who may see the status."""

    def __init__(self, rules: Rules, feed: StatusFeed) -> None:
        super().__init__(rules)
        self._feed = feed
        self._first_frame = b""

    def authorize(self, asked: StreamRequest, reader: Reader) -> Subscription:
        abort_unless_allowed(self._rules)
        if asked.poll is not PollMode.WAIT:  # the poll before one that waits got the current status
            self._first_frame = self._feed.make_frame()
        return Subscription((), None, on_closed=self._feed.remove_stream)

    def start(self, running: RunningWorker, stream: Stream) -> None:
        self._feed.add_stream(stream, self._first_frame)


def abort_unless_allowed(rules: Rules) -> None:
    """Answer the current request with 403 unless ``allow_status`` permits it."""
    try:
        rules.check_status()
    except Forbidden as error:
        abort(403, str(error))
