"""The stream of the status page: one of its user's streams, counted and ended like any other.

Who may see the status is decided by ``allow_status``. What is shown comes from ``feed.py``.
"""

from __future__ import annotations

from flask import abort

from ..access.rules import Rules
from ..errors import Forbidden
from ..http.stream_request import PollMode, StreamRequest
from ..http.stream_source import StreamSource, Subscription
from ..hub.stream import Stream
from ..worker.running import RunningWorker
from .feed import StatusFeed


class FeedSource(StreamSource):
    """Streams a feed to those who may see the status."""

    def __init__(self, rules: Rules, feed: StatusFeed) -> None:
        super().__init__(rules)
        self._feed = feed

    def authorize(self, asked: StreamRequest) -> Subscription:
        reader = self._identify(asked)
        abort_unless_allowed(self._rules)
        opening = _Opening(self._feed)
        # The poll before one that waits got the current status.
        on_admitted = None if asked.poll is PollMode.WAIT else opening.make_frame
        return Subscription(
            reader, (), None, on_admitted=on_admitted, on_open=opening.add_stream, on_closed=self._feed.remove_stream
        )


class _Opening:
    """The first frame of one stream. It takes seconds while the broker is away, so the stream is not open yet."""

    def __init__(self, feed: StatusFeed) -> None:
        self._feed = feed
        self._frame = b""

    def make_frame(self) -> None:
        self._frame = self._feed.make_frame()

    def add_stream(self, running: RunningWorker, stream: Stream) -> None:
        self._feed.add_stream(stream, self._frame)


def abort_unless_allowed(rules: Rules) -> None:
    """Answer the current request with 403 unless ``allow_status`` permits it."""
    try:
        rules.check_status()
    except Forbidden as error:
        abort(403, str(error))
