"""What a URL streams: who may read it, and what its stream begins with. ``GET /events`` is here.

``open_stream.py`` calls the methods of a source in the order in which they stand here. Fixed streams, the probe and the
status page's feed are sources too, each in a file of its own.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence

from ..access.rules import Reader, Rules
from ..access.tickets import verify_ticket
from ..hub.opening import Snapshots
from ..hub.resume import ResumePoint
from ..hub.run_stream import RunReading
from ..hub.stream import Stream
from ..worker.running import RunningWorker
from .stream_request import StreamRequest


class Subscription(NamedTuple):
    """What a request may read.

    :param reader: the user of the request.
    :param channels: the channels of its stream.
    :param checked: the channels for which ``authorize`` was asked; None: ``allow_status`` was asked.
    :param new_channels: those of the channels that the client has not read before.
    :param make_snapshots: as for ``Hub.open_stream``; None if there are none.
    :param on_admitted: called when there is room for the stream and before it is opened. What it does may block.
    :param on_open: called with the stream when it is open, if the source itself sends something to it.
    :param on_closed: called when the stream has ended, in place of ``RunningWorker.on_stream_closed``.
    :param run: how the client reads a run, if this is the stream of one.
    :param resume: where the client begins, if the source decides that.
    :param is_over: whether the client has everything, so that it must not come back.
    """

    reader: Reader
    channels: Sequence[str]
    checked: Sequence[str] | None
    new_channels: Sequence[str] = ()
    make_snapshots: Snapshots | None = None
    on_admitted: Callable[[], None] | None = None
    on_open: Callable[[RunningWorker, Stream], None] | None = None
    on_closed: Callable[[Stream], None] | None = None
    run: RunReading | None = None
    resume: ResumePoint | None = None
    is_over: bool = False


class StreamSource:
    """A kind of stream.

    :param rules: of the application.
    """

    #: Whether a view answers its own request with the stream: the query is the application's.
    is_answer = False
    #: Whether the client gets no comments.
    is_plain = False

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def authorize(self, asked: StreamRequest) -> Subscription:
        """Return who the user of the request is, and what they read.

        :raises ClientError: the user may not read what the request asks for, or its ticket is not valid.
        """
        raise NotImplementedError

    def _identify(self, asked: StreamRequest) -> Reader:
        """Return the user of the request.

        :raises BadTicket: the request's ticket is not valid.
        """
        ticket = None if asked.ticket is None else verify_ticket(asked.ticket, asked.environ)
        return self._rules.identify_reader(ticket, asked.override)

    def _find_snapshots(self) -> Snapshots | None:
        """Return what makes the first events of channels; None if the application has no snapshots."""
        return self._rules.make_snapshots if self._rules.snapshot else None


class EventsSource(StreamSource):
    """``GET /events``: the channels that the client names, the channel of its user, and the channel of everyone."""

    def authorize(self, asked: StreamRequest) -> Subscription:
        rules, reader = self._rules, self._identify(asked)
        named = rules.check_named(reader, asked.channels)
        channels = [*named, *reader.own_channels]
        return Subscription(reader, channels, named, asked.new_channels, self._find_snapshots())
