"""What a URL streams: the rules that are asked for it, and the stream that is opened. ``GET /events`` is here.

``open_stream.py`` asks a source in the order of its methods. Fixed streams, the probe and the status page's feed are
sources of their own, each in a file of its own.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ..access.rules import Reader, Rules, select_named
from ..access.tickets import verify_ticket
from ..hub.resume import ResumePoint
from ..hub.stream import Stream
from ..worker.admission import Permit
from ..worker.running import RunningWorker
from .stream_request import StreamRequest


class Access(NamedTuple):
    """What a request may read.

    :param reader: the user.
    :param channels: the channels of its stream.
    :param checked: the channels for which ``authorize`` was asked; None: ``allow_status`` was asked.
    :param new_channels: those of the channels that the client has not read before.
    """

    reader: Reader
    channels: Sequence[str]
    checked: Sequence[str] | None
    new_channels: Sequence[str] = ()


class StreamSource:
    """A kind of stream.

    :param rules: of the application.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def identify(self, asked: StreamRequest) -> Reader:
        """Return the user of the request.

        :raises BadTicket: the request's ticket is not valid.
        """
        ticket = None if asked.ticket is None else verify_ticket(asked.ticket, asked.environ)
        return self._rules.identify_reader(ticket, asked.override)

    def authorize(self, asked: StreamRequest, reader: Reader) -> Access:
        """Return what this user reads.

        :raises ClientError: the user may not read what the request asks for.
        """
        raise NotImplementedError

    def subscribe(
        self,
        running: RunningWorker,
        permit: Permit,
        asked: StreamRequest,
        access: Access,
        resume: ResumePoint,
        revocations: int,
    ) -> Stream:
        """Open the stream and attach it to the permit.

        :param resume: where the client resumes from.
        :param revocations: as for ``Hub.open_stream``.
        :raises BrokerUnavailable: the client's position in the history cannot be found.
        """
        return permit.attach(
            running.hub.open_stream(
                access.channels, access.reader.user_id, resume, self._rules.make_snapshots,
                running.on_stream_closed, access.new_channels, revocations,
            )
        )  # fmt: skip


class EventsSource(StreamSource):
    """``GET /events``: the channels that the client names, the channel of its user, and the channel of everyone."""

    def authorize(self, asked: StreamRequest, reader: Reader) -> Access:
        named = select_named(asked.channels, reader)
        self._rules.check_channels(reader, named)
        return Access(reader, [*named, *reader.own_channels], named, asked.new_channels)
