"""The encoder of the Server-Sent Events format: text in, bytes out.

It makes frames, comments and ``retry``. It has no I/O, no clock, no Flask and no gevent. All that it makes is legal on
the wire: every value that could forge a field is refused.

Only a frame with data ends in an empty line. By the standard an empty line without data before it means nothing, but
some clients report an empty message for it. A frame's ``id`` is its last line, because some clients note the ``id``
when they read the line: if their connection ends within the frame, they resume after an event that they did not get.

The rules are those of WHATWG HTML, section 9.2 "Server-sent events"
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import EventTooLarge, InvalidChannel, InvalidEvent
from ..util.printable import show_name, show_value
from .cursor import Cursor
from .data import PLAIN, JSONWriter, convert_to_text
from .trace_mark import BEGIN, COMMENT, END, MARK

#: What is sent after ``SSEMUX_HEARTBEAT`` seconds of silence: a comment, which clients do not show.
HEARTBEAT_LINE = b": heartbeat\n"

#: The same with an empty line, as ``SSEMUX_HEARTBEAT_FORM=frame`` sends it. It is the only frame without data.
HEARTBEAT = HEARTBEAT_LINE + b"\n"

#: The values of ``SSEMUX_HEARTBEAT_FORM``.
HEARTBEAT_FORMS = ("frame", "line")

#: What follows the hello if no other frame does. Virus scanners are known to hold back the first frame until the second
#: one comes (featurehub-io/featurehub#296), so the beginning of a second one is sent at once.
OPENED = b": ssemux\n"

#: The forms of the line that names an event's channel: a field ``channel``, or a comment that contains this field.
CHANNEL_FIELD, CHANNEL_COMMENT = b"channel: ", b": channel: "

#: The values of ``SSEMUX_CHANNEL_FORM``.
CHANNEL_FORMS = ("field", "comment")

#: The channel that every client reads.
EVERYONE = "*"

#: A user's own channel is this and the user's id.
USER_PREFIX = "user:"

#: The extension's own events and channels have names that begin with this.
OWN_PREFIX = "ssemux."

#: The channel of a run is this and the run's id, which has so many characters. Clients read a run at its own URL, so
#: its frames do not name the channel. Other channels that begin like this are an application's own.
RUN_PREFIX = "run:"
RUN_ID_LENGTH = 23

#: How the frame of a run's last event begins.
RUN_END = b"event: ssemux.run\n"

#: The ``id`` of an event after which its client must stay away. It is not a cursor. It is sent as ``Last-Event-ID``.
STOP_ID = "stop"

#: The longest channel name, in characters: long enough for two UUIDs and a path.
CHANNEL_LENGTH = 255

#: The longest event name, in characters.
EVENT_LENGTH = 255

# The line ends of WHATWG HTML 9.2.5, and no others: str.splitlines() would
# also split at U+2028, U+0085, form feed and more, and change the data.
_LINE_END = re.compile(r"\r\n|\r|\n")
_FORGING = re.compile(r"[\r\n\0]")
_is_run_id = re.compile("[A-Za-z0-9_-]{%d}" % RUN_ID_LENGTH).fullmatch

_SURROGATE = "a lone surrogate, which UTF-8 cannot encode"


def make_plain(text: str) -> str:
    """Return the text that a subclass of str contains. Its own ``str()`` may be another, as that of an enumeration."""
    return str.__str__(text)


def check_channel(channel: object) -> str:
    """Return the channel's name as plain text, if applications and clients may use it.

    :raises InvalidChannel: it is not text, it is empty, too long or reserved, or it could forge a field.
    """
    if not isinstance(channel, str) or not channel:
        rule = "a channel is a text of 1 to %d characters, not " % CHANNEL_LENGTH
        raise InvalidChannel(rule + show_value(channel), rule + show_name(channel))
    if len(channel) > CHANNEL_LENGTH:
        raise InvalidChannel(
            "a channel has at most %d characters; %s has %d" % (CHANNEL_LENGTH, show_value(channel), len(channel))
        )
    if channel.startswith(OWN_PREFIX):
        raise InvalidChannel(
            "channels that begin with %r are flask_ssemux's own; rename %s" % (OWN_PREFIX, show_value(channel))
        )
    _refuse_forging("channel", channel, InvalidChannel)
    return make_plain(channel)


def check_event_name(event: object) -> str:
    """Return the event's name as plain text, if applications may use it.

    :raises InvalidEvent: it is not text, it is empty, too long or reserved, or it could forge a field.
    """
    if not isinstance(event, str) or not event:
        rule = "an event's name is a text of 1 to %d characters, not %%s; leave it out for the default, 'message'"
        raise InvalidEvent(*(rule % EVENT_LENGTH % show(event) for show in (show_value, show_name)))
    if len(event) > EVENT_LENGTH:
        raise InvalidEvent(
            "an event's name has at most %d characters; %s has %d" % (EVENT_LENGTH, show_value(event), len(event))
        )
    if event.startswith(OWN_PREFIX):
        raise InvalidEvent(
            "event names that begin with %r are flask_ssemux's own; rename %s" % (OWN_PREFIX, show_value(event))
        )
    _refuse_forging("event", event, InvalidEvent)
    return make_plain(event)


def is_user_id(user_id: object) -> bool:
    """Return whether this has one of the types of a user's id: str, int or UUID."""
    return not isinstance(user_id, bool) and (isinstance(user_id, (str, int)) or type(user_id).__name__ == "UUID")


def check_user_id(user_id: object) -> str:
    """Return the user's id as text. It may be a str, an int or a UUID.

    :raises InvalidEvent: it is something else, or text that could forge a field.
    """
    return check_channel(name_user_channel(user_id))[len(USER_PREFIX) :]


def user_channel(user_id: object) -> str:
    """Return the name of the channel that only this user reads.

    :raises InvalidEvent: as ``check_user_id``.
    """
    return check_channel(name_user_channel(user_id))


def name_user_channel(user_id: object) -> str:
    """Return the name of a user's channel, which the caller must check.

    :raises InvalidEvent: it has not the type of a user's id, or it is empty.
    """
    if not is_user_id(user_id):
        rule = "a user's id is a text, an int or a UUID, not "
        raise InvalidEvent(
            "%s%s of type %s" % (rule, show_value(user_id), type(user_id).__name__), rule + show_name(user_id)
        )
    text = _convert_id(user_id)
    if text == "":
        raise InvalidEvent("a user's id may not be empty; use None for an anonymous visitor")
    return USER_PREFIX + text


def _convert_id(user_id: Any) -> str:
    """Return the text of a user's id, whatever a subclass of its type, such as an enumeration, shows by ``str()``."""
    if isinstance(user_id, str):
        return make_plain(user_id)
    return int.__repr__(user_id) if isinstance(user_id, int) else str(user_id)


def is_named(channel: str) -> bool:
    """Return whether clients read this channel because they name it, and not because of who they are."""
    return channel != EVERYONE and not channel.startswith((USER_PREFIX, OWN_PREFIX)) and not is_run_channel(channel)


def is_run_channel(channel: str) -> bool:
    """Return whether this is the channel of a run."""
    return channel.startswith(RUN_PREFIX) and _is_run_id(channel[len(RUN_PREFIX) :]) is not None


def refuse_run_channel(channel: str) -> None:
    """
    :raises InvalidChannel: this is the channel of a run.
    """
    if is_run_channel(channel):
        raise InvalidChannel(
            "%r is the channel of a run, whose events come from its generator only; publish on another channel"
            % channel
        )


def make_run_channel(run_id: object) -> str:
    """Return the channel of the run with this id; "" if no run has such an id."""
    return RUN_PREFIX + run_id if isinstance(run_id, str) and _is_run_id(run_id) else ""


def make_body(
    channel: str,
    data: Any,
    event: str | None = None,
    limit: int | None = None,
    writer: JSONWriter = PLAIN,
    retry: int | None = None,
) -> bytes:
    """Return an event's frame without its ``id``, as brokers store it.

    :param channel: where it is published. The frame contains the channel if clients name it.
    :param data: text, or anything that JSON can express.
    :param event: the event's name; None is the standard's default, ``message``.
    :param limit: the maximum number of bytes.
    :param writer: how data becomes JSON.
    :param retry: milliseconds that clients wait from now on before they reconnect; None leaves that as it is.
    :raises InvalidEvent: (or a subclass) names the value, the rule that it breaks, and the fix.
    """
    channel = check_channel(channel)
    event = None if event is None else check_event_name(event)
    named = channel if is_named(channel) else None
    made = _encode_fields(convert_to_text(data, writer), event=event, channel=named)
    if retry is not None:
        made = b"retry: %d\n%s" % (_check_retry(retry), made)
    if limit is not None and len(made) > limit:
        raise EventTooLarge(
            "an event has at most %d bytes (SSEMUX_MAX_EVENT_BYTES); this one for channel %s has "
            "%d; send a link to the data instead" % (limit, show_value(channel), len(made))
        )
    return made


def _check_retry(retry: object) -> int:
    if isinstance(retry, bool) or not isinstance(retry, int) or retry < 0:
        raise InvalidEvent("retry is a number of milliseconds, an int, not %s" % show_value(retry))
    return retry


def make_frame(body: bytes, cursor: str) -> bytes:
    """Return a stored body as it is sent to clients, with its cursor as the ``id``, which is the last line.

    The body's trace, if it has one, is left out.
    """
    fields = memoryview(body)[: COMMENT if body[BEGIN:END] == MARK else -1]
    return b"%sid: %s\n\n" % (fields, cursor.encode("ascii"))


def move_channels_to_comments(frames: bytes) -> bytes:
    """Return frames whose channels are in comments, for parsers that report an unknown field as an error."""
    made = frames.replace(b"\n" + CHANNEL_FIELD, b"\n" + CHANNEL_COMMENT)  # each line of data begins with "data:"
    return b": " + made if made.startswith(CHANNEL_FIELD) else made


class LatestFrame(bytes):
    """A frame of a latest event: while it waits for a client, the next frame with the same key replaces it."""

    key: tuple[str, str]

    @classmethod
    def of(cls, frame: bytes, key: tuple[str, str]) -> LatestFrame:
        """Return a frame with this key: the channel, and the key of the event in it."""
        made = cls(frame)
        made.key = key
        return made


def make_own_frame(event: str, data: Any, cursor: Cursor | None = None) -> bytes:
    """Return a frame of one of the extension's own events, such as ``ssemux.hello``."""
    made = _encode_fields(convert_to_text(data), event=OWN_PREFIX + event)
    return made if cursor is None else make_frame(made, str(cursor))


def make_stay_away_frame(event: str, reason: str) -> bytes:
    """Return the last event for a client that must stay away. Clients send its ``id`` if they come back."""
    return make_frame(make_own_frame(event, {"reason": reason}), STOP_ID)


def make_comment(text: str) -> bytes:
    """Return the lines of a comment, which clients do not show. They may stand alone or begin a frame."""
    return b"".join(b": %s\n" % _encode_text(line) for line in _LINE_END.split(text))


def make_retry(milliseconds: int, note: str) -> bytes:
    """Return the lines of ``retry`` (how long a client waits before it reconnects) and a comment.

    They may stand alone or begin a frame. Clients apply ``retry`` when they have read its line.
    """
    return b"retry: %d\n%s" % (milliseconds, make_comment(note))


def make_heartbeat(event: str | None = None, has_empty_line: bool = True) -> bytes:
    """Return the heartbeat; with a name also an event, for pages that want to see it.

    :param has_empty_line: whether the comment is a frame of its own.
    """
    comment = HEARTBEAT if has_empty_line else HEARTBEAT_LINE
    return comment if event is None else comment + _encode_fields("{}", event=check_event_name(event))


def count_frames(data: bytes) -> int:
    """Return how many whole frames these bytes contain."""
    return data.count(b"\n\n")


def _encode_fields(text: str, event: str | None = None, channel: str | None = None) -> bytes:
    head = "" if event is None else "event: %s\n" % event
    if channel is not None:
        head += "channel: %s\n" % channel
    if "\n" in text or "\r" in text:
        text = "\ndata: ".join(_LINE_END.split(text))
    return _encode_text("%sdata: %s\n\n" % (head, text))


def _refuse_forging(what: str, text: str, error: type[InvalidEvent]) -> None:
    if text.isascii() and text.isprintable():
        return
    if _FORGING.search(text):
        raise error("%s %s has a line break or NUL in it, which would forge a field" % (what, show_value(text)))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise error("%s has %s" % (show_value(text), _SURROGATE)) from None


def _encode_text(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidEvent("%s has %s" % (show_value(text), _SURROGATE), "the data has " + _SURROGATE) from None
