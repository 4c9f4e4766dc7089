"""The stream of the status page: one of its user's streams, counted and ended like any other.

Who may see the status is decided by ``allow_status``. What is shown comes from ``feed.py``.
"""

from __future__ import annotations

from flask import abort

from ..access.rules import Reader, Rules
from ..errors import Forbidden
from ..http.stream_request import PollMode, StreamRequest
from ..http.stream_source import Access, StreamSource
from ..hub.resume import ResumePoint
from ..hub.stream import Stream
from ..worker.admission import Permit
from ..worker.running import RunningWorker
from .feed import StatusFeed


class FeedSource(StreamSource):
    """Streams a feed to those who may see the status."""

    def __init__(self, rules: Rules, feed: StatusFeed) -> None:
        super().__init__(rules)
        self._feed = feed

    def authorize(self, asked: StreamRequest, reader: Reader) -> Access:
        abort_unless_allowed(self._rules)
        return Access(reader, (), None)

    def subscribe(
        self,
        running: RunningWorker,
        permit: Permit,
        asked: StreamRequest,
        access: Access,
        resume: ResumePoint,
        revocations: int,
    ) -> Stream:
        """A poll that waits is answered with what comes: the poll before it got what there was."""
        is_at_once = asked.poll is not PollMode.WAIT
        return self._feed.open_stream(permit, access.reader.user_id, revocations, is_at_once)


def abort_unless_allowed(rules: Rules) -> None:
    """Answer the current request with 403 unless ``allow_status`` permits it."""
    try:
        rules.check_status()
    except Forbidden as error:
        abort(403, str(error))
