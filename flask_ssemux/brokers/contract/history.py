"""The contract's first part: the order and the history of events, and their delivery to this process.

Order: one sequence for all channels, which grows by commit: a reader that sees sequence n has seen, or can read, all
events before it. An engine numbers, stores and announces an event in one atomic step.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Callable, Iterable, Mapping, NamedTuple, Sequence

from ...sse.cursor import Cursor
from ...util.supervise import attempt
from ..merge import Merge
from ..records import ChannelPage, Floors, NewEvent, Page, Range, Record, SubscriptionStart
from .any_thread import AnyThread
from .constants import PAGE_BYTES


def _deliver_later(record: Record) -> bool:
    return False


class Listener(NamedTuple):
    """The functions that a broker calls, one call at a time: from one thread (or greenlet) of its own, except for
    ``deliver_now``.

    A listener handles its own errors. If it still raises one, the broker logs the error and goes on with the
    next call; it does not repeat the call.

    :param deliver: receives records in the order of their sequence, each record once.
    :param report_gap: receives the channels of which events that were not delivered are no longer kept, and the cursor
        up to which that is so; it is called before later events of these channels are delivered.
    :param begin_epoch: the epoch ended, and events that were not delivered are lost; receives the first cursor of the
        new epoch.
    :param report_lost: the store cannot be reached; receives the reason.
    :param report_found: the store can be reached again. Everything that it accepted meanwhile is delivered after this
        call.
    :param deliver_now: receives the next record from the thread that appended it, before the append returns, and
        delivers it if that is possible without waiting. It returns whether it did; otherwise ``deliver`` receives the
        record. Engines need not call it.
    """

    deliver: Callable[[Sequence[Record]], None]
    report_gap: Callable[[Sequence[str], Cursor], None]
    begin_epoch: Callable[[Cursor], None]
    report_lost: Callable[[str], None]
    report_found: Callable[[], None]
    deliver_now: Callable[[Record], bool] = _deliver_later


def call_listener(function: Callable[..., None], *values: object) -> None:
    """Call a function of a listener; log what it raises."""
    attempt("delivery from the broker failed", function, *values)


class EventHistory(AnyThread):
    """Appends events, reads them again, and delivers new ones.

    Every method may be called from any thread or greenlet of the process. A method that asks the store blocks its
    caller for ``WAIT_SECONDS`` at most, unless its docstring says otherwise, and then raises ``BrokerUnavailable``.
    After ``Broker.close`` all of them raise ``BrokerClosed``, but for ``has_lost`` and ``unsubscribe_channel``.
    """

    unwrapped = frozenset({"has_lost"})

    # -- append and read ---------------------------------------------------

    @abstractmethod
    def append_event(self, channel: str, body: bytes, latest_key: str | None = None) -> Cursor:
        """Number, store and announce one event; trim the channel's history.

        :param latest_key: the key of a latest event: from this moment on the event of the same channel and key before
            it is no longer kept, and its absence is no gap.
        :return: the cursor of the event. The event survives the crash of any process.
        :raises BrokerUnavailable: the store did not accept the event; or, where the store is reached over a network
            that failed in between, it is not known whether it did.
        """

    @abstractmethod
    def append_events(self, events: Sequence[NewEvent]) -> list[Cursor]:
        """Append several events in one atomic step: all of them or none, with consecutive sequences, in this order.

        :param events: one at least.
        :return: the cursor of each event. The rest is as for ``append_event``.
        :raises BrokerUnavailable: the store accepted none of them; or it is not known whether it accepted all.
        """

    @abstractmethod
    def get_newest_cursor(self) -> Cursor:
        """Return the cursor of the newest event; its sequence is 0 before the first event.

        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def read_channels(self, ranges: Mapping[str, Range], limit: int, size: int) -> dict[str, ChannelPage]:
        """Return the oldest events of each channel in its range: ``limit`` of each at most, about ``size`` bytes in
        all.

        The cost follows what is returned: one or two lookups for each channel. The page of the first channel has at
        least one event, if there is one. A page for which no room is left ends before the next event of its channel, if
        the sequence of that event is cheap to find.

        :raises BrokerUnavailable: the store did not answer.
        """

    def read_events(self, channels: Iterable[str], after: int, upto: int, limit: int) -> Page:
        """Return the oldest events of these channels with ``after < sequence <= upto``, in order: ``limit`` at most.

        For a single read. A caller that reads page after page keeps a ``Merge``.

        :raises BrokerUnavailable: the store did not answer one of the reads.
        """
        merge = Merge(self.read_channels, dict.fromkeys(channels, Range(after, upto)))
        records: list[Record] = []
        missing: list[str] = []
        left, is_whole = PAGE_BYTES, False
        while left > 0 and len(records) < limit and not is_whole:
            more, gone, is_whole = merge.read_page(limit - len(records), left)
            records += more
            missing += gone
            left -= sum(len(record.body) for record in more)
        return Page(records, missing, is_whole)

    def find_last_event(self, channel: str, bounds: Range) -> Record | None:
        """Return the newest event of a channel in a range; None if none is kept.

        It asks the store some twenty times, each time for one event: for what is rarely needed.

        :raises BrokerUnavailable: the store did not answer one of the reads.
        """
        found, (after, upto) = None, bounds
        while after < upto:
            middle = (after + upto) // 2
            records = self.read_channels({channel: Range(middle, upto)}, 1, 1)[channel].records
            if records:
                found, after = records[0], records[0].sequence
            else:
                upto = middle
        return found

    @abstractmethod
    def get_floors(self, channels: Iterable[str]) -> Floors:
        """Return the floor of each of these channels now: the sequence up to which its events are over a limit.

        :raises BrokerUnavailable: the store did not answer.
        """

    def has_lost(self, cursor: Cursor) -> bool:
        """Return whether this sequence was given, in this epoch, to an event that the store has lost since.

        It does not ask the store, but goes by the store's last answer. False for a cursor of an epoch other than that
        answer's, of which nothing is known.
        """
        return False

    # -- events of the application's own transactions ----------------------

    def find_outbox(self) -> str | None:
        """Return the table, as SQL names it, into which a transaction of the application writes its events: channel,
        latest (the key of a latest event, or NULL), body. None if the engine is not a database of applications.

        :raises BrokerUnavailable: the store did not answer.
        """
        return None

    def place_events(self) -> None:
        """Give the events of committed transactions their place in the order, in the order of their writing. Never
        raises: an engine with such a table also does it by itself, within a second."""

    # -- delivery ----------------------------------------------------------

    @abstractmethod
    def start_delivery(self, listener: Listener) -> Cursor:
        """Begin to call the listener. It is called once for each broker.

        :return: the cursor after which all events of subscribed channels are delivered.
        :raises BrokerUnavailable: the store did not answer.
        """

    @abstractmethod
    def subscribe_channels(self, channels: Iterable[str]) -> SubscriptionStart:
        """Deliver the events of these channels: from the return on, all of them after the sequence that is returned.

        It blocks for ``2 * WAIT_SECONDS`` at most, and not at all while the store is known to be lost. An engine may
        also deliver events of other channels.

        :raises BrokerUnavailable: the store did not answer in that time.
        """

    def unsubscribe_channel(self, channel: str) -> None:
        """Stop the delivery of this channel's events, now or later. Returns at once and never raises."""
