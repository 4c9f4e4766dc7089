"""The events of one ``publish_many``: how the caller writes them, and how many there may be. Nothing is sent here."""

from __future__ import annotations

from typing import Any, Iterable, List, Mapping, NamedTuple, Sequence

from ..brokers import NewEvent
from ..errors import EventTooLarge, InvalidEvent
from ..sse import encode
from ..util.printable import show_value
from .arguments import explain_unknown
from .best_effort import Names

#: The maximum number of events of one call: as many as SQLite's store deletes in one round of trimming. A Redis server
#: stores them in about 20 ms, in which it serves nobody else.
MAX_EVENTS = 500

#: The maximum number of bytes of one call: a quarter of what brokers keep for delivery to connected clients.
MAX_BYTES = 4 * 1024 * 1024

_FORMS = (
    "an event of publish_many is (channel, data), (channel, data, event), or a dict with arguments of publish: "
    "{'channel': ..., 'data': ..., 'event': ..., 'latest': ...}, with 'user_id' in place of 'channel' for one user"
)

_NAMES = ("channel", "user_id", "data", "event", "latest")


class WrittenEvent(NamedTuple):
    """An event as the caller wrote it; nothing is checked but its form."""

    channel: Any
    data: Any
    event: Any = None
    latest: bool = False


class WrittenEvents(List[WrittenEvent]):
    """The events of one call, in their order."""

    def read(self, events: Iterable[Any]) -> None:
        """Add the events that the caller wrote.

        :raises InvalidEvent: there are too many, or one has none of the forms; says which.
        """
        if isinstance(events, (str, bytes, Mapping)):
            rule = "publish_many takes a list of events, not %s; " + _FORMS
            raise InvalidEvent(rule % show_value(events), rule % "a value of type %s" % type(events).__name__)
        for number, item in enumerate(events):
            self.append(name_place(number, _read_event, item))
        if len(self) > MAX_EVENTS:
            raise InvalidEvent(
                "one publish_many takes at most %d events, not %d; publish them in several calls"
                % (MAX_EVENTS, len(self))
            )

    def list_names(self) -> Names:
        """Return the name and the channel of each event, for a log line."""
        return [(one.event, one.channel) for one in self]


def name_place(number: int, call: Any, *values: Any) -> Any:
    """Return what the call returns for one of the events; its error says which event it is.

    :raises InvalidEvent: (or a subclass) as the call.
    """
    try:
        return call(*values)
    except InvalidEvent as error:
        raise type(error)(*("events[%d]: %s" % (number, text) for text in (error, error.for_log))) from None


def _read_event(item: Any) -> WrittenEvent:
    if isinstance(item, Mapping):
        return _read_mapping(item)
    if isinstance(item, (tuple, list)) and 2 <= len(item) <= 3:
        return WrittenEvent(*item)
    raise _make_form_refusal(item)


def _make_form_refusal(item: Any) -> InvalidEvent:
    return InvalidEvent("%s; not %s" % (_FORMS, show_value(item)), "%s; not another %s" % (_FORMS, type(item).__name__))


def _read_mapping(item: Mapping[str, Any]) -> WrittenEvent:
    for name in item:
        if name not in _NAMES:
            raise InvalidEvent(
                "there is no %s in an event: %s" % (show_value(name), explain_unknown(name, _NAMES)),
                "an event has an unknown key: it takes " + ", ".join(_NAMES),
            )
    if "data" not in item or ("channel" in item) == ("user_id" in item):
        raise _make_form_refusal(dict(item))
    channel = item["channel"] if "channel" in item else encode.user_channel(item["user_id"])
    return WrittenEvent(channel, item["data"], item.get("event"), item.get("latest", False))


def check_size(events: Sequence[NewEvent], max_event_bytes: int) -> None:
    """
    :raises EventTooLarge: the events have too many bytes together. A single one of the maximum size never has.
    """
    size, limit = sum(len(event.body) for event in events), max(MAX_BYTES, max_event_bytes)
    if size > limit:
        raise EventTooLarge(
            "the events of one publish_many have at most %d bytes together; these %d have %d; publish them in several "
            "calls" % (limit, len(events), size)
        )
