"""The Server-Sent Events format: text in, bytes out.

Frames, comments, ``retry`` and cursors, and nothing else: no I/O, no clock,
no Flask, no gevent. What exists here is legal on the wire: every value that
could forge a field is refused.

Source of the rules: WHATWG HTML, section 9.2 "Server-sent events"
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..errors import EventTooLarge, InvalidChannel, InvalidEvent
from .cursor import Cursor

#: What a client sees after ``SSEMUX_HEARTBEAT`` seconds of silence.
HEARTBEAT = b": heartbeat\n\n"

#: The channel of everyone.
EVERYONE = "*"

#: The channel of one user is this and the user's id.
USER_PREFIX = "user:"

#: Names of events and channels that are the extension's own begin with this.
OWN_PREFIX = "ssemux."

#: The ``id`` of an event after which its client must stay away. It is no cursor, and comes back as ``Last-Event-ID``.
STOP_ID = "stop"

#: Longest channel name, in characters; long enough for two UUIDs and a path.
CHANNEL_LENGTH = 255

#: Longest event name, in characters.
EVENT_LENGTH = 255

# The line ends of WHATWG HTML 9.2.5, and no others: str.splitlines() would
# also split at U+2028, U+0085, form feed and more, and change the data.
_LINE_END = re.compile(r"\r\n|\r|\n")
_FORGING = re.compile(r"[\r\n\0]")


def check_channel(channel: object) -> str:
    """The channel's name as it came, if applications and clients may use it.

    :raises InvalidChannel: it is not text, empty, too long, reserved, or could forge a field.
    """
    if not isinstance(channel, str) or not channel:
        raise InvalidChannel("a channel is a text of 1 to %d characters, not %s" % (CHANNEL_LENGTH, _show(channel)))
    if len(channel) > CHANNEL_LENGTH:
        raise InvalidChannel(
            "a channel has at most %d characters; %s has %d" % (CHANNEL_LENGTH, _show(channel), len(channel))
        )
    if channel.startswith(OWN_PREFIX):
        raise InvalidChannel(
            "channels that begin with %r are flask_ssemux's own; rename %s" % (OWN_PREFIX, _show(channel))
        )
    _refuse_forging("channel", channel, InvalidChannel)
    return channel


def check_event_name(event: object) -> str:
    """The event's name as it came, if an application may send it.

    :raises InvalidEvent: it is not text, too long, reserved, or could forge a field.
    """
    if not isinstance(event, str) or not event:
        raise InvalidEvent(
            "an event's name is a text of 1 to %d characters, not %s; leave it out for the "
            "default, 'message'" % (EVENT_LENGTH, _show(event))
        )
    if len(event) > EVENT_LENGTH:
        raise InvalidEvent(
            "an event's name has at most %d characters; %s has %d" % (EVENT_LENGTH, _show(event), len(event))
        )
    if event.startswith(OWN_PREFIX):
        raise InvalidEvent(
            "event names that begin with %r are flask_ssemux's own; rename %s" % (OWN_PREFIX, _show(event))
        )
    _refuse_forging("event", event, InvalidEvent)
    return event


def check_user_id(user_id: object) -> str:
    """The user's id as text: of a str, an int or a UUID.

    :raises InvalidEvent: anything else, or text that could forge a field.
    """
    if isinstance(user_id, bool) or not (isinstance(user_id, (str, int)) or type(user_id).__name__ == "UUID"):
        raise InvalidEvent(
            "a user's id is a text, an int or a UUID, not %s of type %s" % (_show(user_id), type(user_id).__name__)
        )
    check_channel(USER_PREFIX + str(user_id))
    if str(user_id) == "":
        raise InvalidEvent("a user's id may not be empty; use None for nobody")
    return str(user_id)


def user_channel(user_id: object) -> str:
    """The channel that only this user reads."""
    return USER_PREFIX + check_user_id(user_id)


def is_named(channel: str) -> bool:
    """Whether clients name this channel, rather than have it by being who they are."""
    return channel != EVERYONE and not channel.startswith((USER_PREFIX, OWN_PREFIX))


def as_text(data: Any) -> str:
    """Data as the text that goes out: a str as it is, anything else as JSON.

    :raises InvalidEvent: it is neither.
    """
    if isinstance(data, str):
        return data
    try:
        return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(
            "data must be text or what json.dumps takes; %s of type %s is not (%s); convert it "
            "before you publish" % (_show(data), type(data).__name__, error)
        ) from None


def body(channel: str, data: Any, event: str | None = None, limit: int | None = None) -> bytes:
    """An event's frame without its ``id``: what a broker stores.

    :param channel: where it is published; named to the client if clients name it.
    :param data: text, or anything that JSON can say.
    :param event: the event's name; None is the standard's default, ``message``.
    :param limit: the most bytes it may have.
    :raises InvalidEvent: (or a subclass) the value, the rule it breaks, and the fix.
    """
    check_channel(channel)
    event = None if event is None else check_event_name(event)
    named = channel if is_named(channel) else None
    made = _fields(data, event=event, channel=named)
    if limit is not None and len(made) > limit:
        raise EventTooLarge(
            "an event has at most %d bytes (SSEMUX_MAX_EVENT_BYTES); this one for channel %s has "
            "%d; send a link to the data instead" % (limit, _show(channel), len(made))
        )
    return made


def frame(body: bytes, cursor: str) -> bytes:
    """A stored body as it goes to the client, with its place as the ``id``."""
    return b"id: %s\n%s" % (cursor.encode("ascii"), body)


class LatestFrame(bytes):
    """A frame of which a client needs only the newest: while it waits, the next with its key takes its place."""

    key: tuple[str, str]

    @classmethod
    def of(cls, frame: bytes, key: tuple[str, str]) -> LatestFrame:
        """
        :param key: the channel, and the key of its events.
        """
        made = cls(frame)
        made.key = key
        return made


def own_frame(event: str, data: Any, cursor: Cursor | None = None) -> bytes:
    """A frame of the extension's own, such as ``ssemux.hello``."""
    made = _fields(data, event=OWN_PREFIX + event)
    return made if cursor is None else frame(made, str(cursor))


def stay_away(event: str, reason: str) -> bytes:
    """The last event of a client that must not come back: every client sends its ``id`` when it does."""
    return frame(_fields({"reason": reason}, event=OWN_PREFIX + event), STOP_ID)


def comment(text: str) -> bytes:
    """A comment, which no client shows: it only keeps the connection alive."""
    return b"".join(b": %s\n" % _utf8(line) for line in _LINE_END.split(text)) + b"\n"


def retry(milliseconds: int, note: str) -> bytes:
    """The ``retry`` field (how long a client waits before it reconnects), with a comment."""
    return b"retry: %d\n%s" % (milliseconds, comment(note))


def heartbeat(event: str | None = None) -> bytes:
    """The heartbeat; with a name also an event, for pages that want to see it."""
    if event is None:
        return HEARTBEAT
    return HEARTBEAT + _fields("{}", event=check_event_name(event))


def count(data: bytes) -> int:
    """How many whole frames these are."""
    return data.count(b"\n\n")


def _fields(data: Any, event: str | None = None, channel: str | None = None) -> bytes:
    lines = []
    if event is not None:
        lines.append("event: " + event)
    if channel is not None:
        lines.append("channel: " + channel)
    lines.extend("data: " + line for line in _LINE_END.split(as_text(data)))
    return _utf8("\n".join(lines) + "\n\n")


def _refuse_forging(what: str, text: str, error: type[InvalidEvent]) -> None:
    if _FORGING.search(text):
        raise error("%s %s has a line break or NUL in it, which would forge a field" % (what, _show(text)))
    _utf8(text, error)


def _utf8(text: str, error: type[InvalidEvent] = InvalidEvent) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise error("%s has a lone surrogate, which UTF-8 cannot say" % _show(text)) from None


def _show(value: object) -> str:
    """A value for a message, shortened: messages end up in logs."""
    try:
        shown = repr(value)
    except Exception as error:  # nested too deeply, or a repr of its own that fails
        shown = "<%s: %s>" % (type(value).__name__, type(error).__name__)
    return shown if len(shown) <= 80 else shown[:77] + "..."
