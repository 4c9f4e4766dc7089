"""The stream of a run: who may read it, where its reader begins, and what is answered once the run is over.

A run is read at its own URL, and in the answer to the request that started it (``Run.response``). Whoever may not read
a run gets the same answer for a run that does not exist. What a run is stands in ``runs``.
"""

from __future__ import annotations

from typing import Any, Collection, NamedTuple, Sequence

from flask import Response

from ..access.rules import Reader, Rules
from ..brokers import Range, RunRecord
from ..errors import Forbidden, Unauthorized
from ..hub.resume import ResumePoint
from ..hub.run_stream import RunReading
from ..hub.stream import Stream
from ..runs.details import END_STATES, RunDetails, make_end_body
from ..runs.host import RunHost
from ..runs.run import Run
from ..sse import encode
from ..sse.cursor import Cursor
from ..worker.running import RunningWorker
from ..worker.worker import Worker
from .open_stream import serve_stream
from .stream_request import StreamRequest
from .stream_source import StreamSource, Subscription

#: The headers of an answer that streams a run: its id, and its URL.
RUN_HEADER, URL_HEADER = "Ssemux-Run", "Content-Location"

#: The maximum bytes of the event that is read to see whether there is one.
_ONE_EVENT = 1


def make_run_view(worker: Worker, rules: Rules, runs: RunHost) -> Any:
    """Return the view of ``<SSEMUX_URL>/run/<run_id>``."""
    return lambda run_id, **values: serve_stream(worker, RunSource(worker, rules, runs, run_id))


def answer_with_run(worker: Worker, rules: Rules, runs: RunHost, run: Run, comments: bool) -> Response:
    """Answer the current request with a run; see ``Run.response``."""
    response = serve_stream(worker, RunAnswer(worker, rules, runs, run.id, is_plain=not comments))
    response.headers[RUN_HEADER] = run.id
    if worker.options.url is not None:
        response.headers[URL_HEADER] = run.url
    return response


class RunSource(StreamSource):
    """One request for a run, at its URL.

    :param is_plain: as for ``RunReading``.
    """

    def __init__(self, worker: Worker, rules: Rules, runs: RunHost, run_id: str, is_plain: bool = False) -> None:
        super().__init__(rules)
        self.is_plain = is_plain
        self._worker = worker
        self._runs = runs
        self._run_id = run_id

    def authorize(self, asked: StreamRequest) -> Subscription:
        reader = self._identify(asked)
        record = self._runs.read_record(self._run_id)
        checked = self._check_reader(reader, record)
        assert record is not None  # or nobody may read it
        start = self._find_start(asked, record)
        return Subscription(
            reader, (encode.make_run_channel(self._run_id),), checked, on_open=self._note_stream,
            on_closed=self._forget_stream, run=RunReading(record.begin, self.is_plain, start.end), resume=start.point,
            is_over=start.is_over,
        )  # fmt: skip

    def _check_reader(self, reader: Reader, record: RunRecord | None) -> Sequence[str]:
        """Return the channels for which rules were asked, if this user may read the run.

        :raises Unauthorized: an anonymous visitor may not, or there is no such run.
        :raises Forbidden: this user may not, or there is no such run.
        """
        channel = encode.make_run_channel(self._run_id)
        ticket = reader.ticket
        if ticket is None or ticket.channels is None or channel in ticket.channels:
            if record is not None and RunDetails.from_json(record.details).owner in (None, reader.user_id):
                return ()
            # The rule is also asked about a run that does not exist: neither its time nor its errors tell of one.
            if self._is_allowed(reader, channel) and record is not None:
                return (channel,)
        if reader.user is None:
            raise Unauthorized("this run needs its user; log in first")
        raise Forbidden("you may not read this run")

    def _is_allowed(self, reader: Reader, channel: str) -> bool:
        if self._rules.find_pattern(channel) is None:
            return False
        try:
            self._rules.check_channels(reader, [channel])
        except (Forbidden, Unauthorized):
            return False
        return True

    def _find_start(self, asked: StreamRequest, record: RunRecord) -> _Start:
        """Return where the client begins: after the last event that it saw, or at the run's beginning."""
        hub = self._worker.running().hub
        point = hub.parse_last_ids(asked.last_ids)
        is_back = point.cursor is not None
        if point.cursor is None or (point.cursor.epoch == record.begin.epoch and point.cursor < record.begin):
            point = ResumePoint(record.begin)
        if record.state not in END_STATES:
            return _Start(point)
        return self._find_end(point, asked.last_ids if is_back else (), record)

    def _find_end(self, point: ResumePoint, last_ids: Collection[str], record: RunRecord) -> _Start:
        """Return what is left to send of a run that has ended. Its end is its newest event, so it is kept longest.

        If an event that the client missed is no longer kept, nothing is replayed to it: it gets a reset, and the end.
        A cursor that is newer than the end is one of another stream: its client gets the end.
        """
        history, channel = self._worker.broker.history, encode.make_run_channel(self._run_id)
        newest, is_missing = history.get_newest_cursor(), True
        after = point.get_sequence(newest.epoch)
        if after is not None:
            page = history.read_channels({channel: Range(after, newest.sequence)}, 1, _ONE_EVENT)[channel]
            is_missing = page.is_missing
            if page.records and not is_missing:
                return _Start(point)
        end = self._find_end_cursor(newest, after, record.begin)
        has_end = bool(last_ids) and (end is None or str(end) in last_ids)
        return _Start(
            point, encode.make_frame(make_end_body(record.state), str(end or newest)), has_end and not is_missing
        )

    def _find_end_cursor(self, newest: Cursor, after: int | None, begin: Cursor) -> Cursor | None:
        """Return the cursor of the run's last event; None if the history no longer keeps it.

        :param after: the sequence of the client's cursor, which mostly is the one.
        """
        if begin.epoch != newest.epoch:
            return None
        history, channel = self._worker.broker.history, encode.make_run_channel(self._run_id)
        last = None if after is None else history.find_last_event(channel, Range(after - 1, after))
        last = last or history.find_last_event(channel, Range(begin.sequence, newest.sequence))
        return None if last is None else Cursor(newest.epoch, last.sequence)

    def _note_stream(self, running: RunningWorker, stream: Stream) -> None:
        self._runs.watch.add_reader(self._run_id)

    def _forget_stream(self, stream: Stream) -> None:
        self._runs.watch.remove_reader(self._run_id)
        self._worker.running().on_stream_closed(stream)


class RunAnswer(RunSource):
    """A request whose view decided that it is answered with a run."""

    is_answer = True

    def _identify(self, asked: StreamRequest) -> Reader:
        return self._rules.identify_reader(None, asked.override)

    def _check_reader(self, reader: Reader, record: RunRecord | None) -> Sequence[str]:
        if record is None:
            raise Forbidden("this run is not known any more")
        return ()


class _Start(NamedTuple):
    """Where a client begins to read a run.

    :param end: the frame of the run's end if the history has none of its events that the client has yet to get.
    :param is_over: whether the client has all of the run, its end included.
    """

    point: ResumePoint
    end: bytes = b""
    is_over: bool = False
