"""The encoder: the table of cases in both directions, the errors, and random events against a parser of the standard.

Where other parsers differ from the standard, the difference is asserted too, so that a change in them is noticed.
"""

from __future__ import annotations

import re
import uuid

import httpx
import httpx_sse
import pytest
import sseclient
from hypothesis import example, given
from hypothesis import strategies as st

from flask_ssemux.errors import EventTooLarge, InvalidChannel, InvalidEvent
from flask_ssemux.sse import encode
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.sse.data import convert_to_text
from tests.harness.parser import Parser, parse
from tests.unit.cases import CASES, NO_LINE_ENDS

CASE = pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])


def body(data, event=None):
    return encode.make_body("*", data, event)


def normal(text):
    """Return data as every client must see it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


# -- the table ---------------------------------------------------------------


@CASE
def test_encodes(case):
    assert body(case.data, case.event) == case.frame


@CASE
def test_decodes(case):
    (seen,) = parse(encode.make_frame(case.frame, "abcd-7")).frames
    assert (seen.event, seen.data, seen.id, seen.dispatched) == (case.name, case.text, "abcd-7", True)
    assert (seen.fields, seen.comments, seen.retry) == ({}, (), None)


def test_a_stream_of_all_cases_decodes_one_by_one():
    stream = b"".join(case.frame for case in CASES)
    assert [(seen.event, seen.data) for seen in parse(stream).frames] == [(case.name, case.text) for case in CASES]


@pytest.mark.parametrize("character", NO_LINE_ENDS, ids=ascii)
def test_no_line_end_but_the_standards(character):
    text = "a%sb" % character
    assert body(text) == b"data: " + text.encode() + b"\n\n"
    assert [seen.data for seen in parse(body(text)).events] == [text]


# -- frames ------------------------------------------------------------------


def test_a_channel_that_clients_name_is_in_the_frame():
    assert encode.make_body("jobs:42", "x", "progress") == b"event: progress\nchannel: jobs:42\ndata: x\n\n"


@pytest.mark.parametrize("channel", ["*", "user:7"])
def test_a_channel_that_clients_do_not_name_is_not_in_the_frame(channel):
    assert encode.make_body(channel, "x") == b"data: x\n\n"


@pytest.mark.parametrize(
    "channel, named", [("jobs", True), ("user", True), ("users:1", True), ("*a", True), ("ssemux.x", False)]
)
def test_named_channels(channel, named):
    assert encode.is_named(channel) is named


def test_an_id_is_the_last_line():
    assert encode.make_frame(b"data: x\n\n", "abcd-7") == b"data: x\nid: abcd-7\n\n"
    assert encode.make_stay_away_frame("stop", "bye").endswith(b'\ndata: {"reason":"bye"}\nid: stop\n\n')


@pytest.mark.parametrize(
    "field, comment",
    [
        (b"channel: a\ndata: x\n\n", b": channel: a\ndata: x\n\n"),
        (b"event: e\nchannel: a\ndata: x\nid: 1\n\n", b"event: e\n: channel: a\ndata: x\nid: 1\n\n"),
        (b"data: x\n\nchannel: a\ndata: y\n\n", b"data: x\n\n: channel: a\ndata: y\n\n"),
        (b"event: channel: a\ndata: channel: b\n\n", b"event: channel: a\ndata: channel: b\n\n"),
    ],
)
def test_channels_in_comments(field, comment):
    assert encode.move_channels_to_comments(field) == comment


def test_own_frames():
    assert encode.make_own_frame("hello", {"a": 1}) == b'event: ssemux.hello\ndata: {"a":1}\n\n'
    assert encode.make_own_frame("reset", "", Cursor("abcd", 3)) == b"event: ssemux.reset\ndata: \nid: abcd-3\n\n"


@pytest.mark.parametrize("text, made", [("", b": \n"), ("a", b": a\n"), ("a\r\nb\n", b": a\n: b\n: \n")])
def test_comments(text, made):
    assert encode.make_comment(text) == made


def test_retry():
    assert encode.make_retry(3000, "ssemux") == b"retry: 3000\n: ssemux\n"


def test_the_heartbeats_exact_bytes():
    assert encode.make_heartbeat() == encode.HEARTBEAT == b": heartbeat\n\n"
    assert encode.make_heartbeat(has_empty_line=False) == encode.HEARTBEAT_LINE == b": heartbeat\n"


def test_the_heartbeat_as_an_event_has_no_id():
    assert encode.make_heartbeat("beat") == b": heartbeat\n\nevent: beat\ndata: {}\n\n"
    assert encode.make_heartbeat("beat", has_empty_line=False) == b": heartbeat\nevent: beat\ndata: {}\n\n"
    assert parse(encode.make_heartbeat("beat")).events[0].own_id is None


def test_the_limit_counts_the_bytes_of_the_frame():
    made = encode.make_body("jobs", "ä")
    assert encode.make_body("jobs", "ä", limit=len(made)) == made
    with pytest.raises(EventTooLarge):
        encode.make_body("jobs", "ä", limit=len(made) - 1)


# -- messages ----------------------------------------------------------------

LONG = "x" * 256
SHOWN = "'" + "x" * 76 + "..."

BAD_CHANNELS = [
    ("", "a channel is a text of 1 to 255 characters, not ''"),
    (None, "a channel is a text of 1 to 255 characters, not None"),
    (b"jobs", "a channel is a text of 1 to 255 characters, not b'jobs'"),
    (LONG, "a channel has at most 255 characters; %s has 256" % SHOWN),
    ("a\nb", r"channel 'a\nb' has a line break or NUL in it, which would forge a field"),
    ("a\rb", r"channel 'a\rb' has a line break or NUL in it, which would forge a field"),
    ("a\0b", r"channel 'a\x00b' has a line break or NUL in it, which would forge a field"),
    ("\n", r"channel '\n' has a line break or NUL in it, which would forge a field"),
    ("\ud800", r"'\ud800' has a lone surrogate, which UTF-8 cannot encode"),
    ("ssemux.control", "channels that begin with 'ssemux.' are flask_ssemux's own; rename 'ssemux.control'"),
]

BAD_NAMES = [
    ("", "an event's name is a text of 1 to 255 characters, not ''; leave it out for the default, 'message'"),
    (7, "an event's name is a text of 1 to 255 characters, not 7; leave it out for the default, 'message'"),
    (LONG, "an event's name has at most 255 characters; %s has 256" % SHOWN),
    ("ssemux.hello", "event names that begin with 'ssemux.' are flask_ssemux's own; rename 'ssemux.hello'"),
    ("a\ndata: forged", r"event 'a\ndata: forged' has a line break or NUL in it, which would forge a field"),
    ("a\r", r"event 'a\r' has a line break or NUL in it, which would forge a field"),
    ("\0", r"event '\x00' has a line break or NUL in it, which would forge a field"),
    ("\udfff", r"'\udfff' has a lone surrogate, which UTF-8 cannot encode"),
]

BAD_USERS = [
    (None, InvalidEvent, "a user's id is a text, an int or a UUID, not None of type NoneType"),
    (True, InvalidEvent, "a user's id is a text, an int or a UUID, not True of type bool"),
    (1.5, InvalidEvent, "a user's id is a text, an int or a UUID, not 1.5 of type float"),
    (b"7", InvalidEvent, "a user's id is a text, an int or a UUID, not b'7' of type bytes"),
    ("", InvalidEvent, "a user's id may not be empty; use None for an anonymous visitor"),
    (
        "7\n",
        InvalidChannel,
        r"channel 'user:7\n' has a line break or NUL in it, which would forge a field",
    ),
    ("x" * 251, InvalidChannel, "a channel has at most 255 characters; 'user:%s... has 256" % ("x" * 71)),
]


def get_message(error, call, *args, **options):
    with pytest.raises(error) as caught:
        call(*args, **options)
    assert type(caught.value) is error
    return str(caught.value)


@pytest.mark.parametrize("channel, message", BAD_CHANNELS)
def test_refuses_channels(channel, message):
    assert get_message(InvalidChannel, encode.make_body, channel, "x") == message


@pytest.mark.parametrize("event, message", BAD_NAMES)
def test_refuses_event_names(event, message):
    assert get_message(InvalidEvent, body, "x", event) == message


@pytest.mark.parametrize("event, message", BAD_NAMES)
def test_refuses_them_for_the_heartbeat_too(event, message):
    assert get_message(InvalidEvent, encode.make_heartbeat, event) == message


@pytest.mark.parametrize("user_id, error, message", BAD_USERS)
def test_refuses_user_ids(user_id, error, message):
    assert get_message(error, encode.user_channel, user_id) == message


@pytest.mark.parametrize("user_id, channel", [("ann", "user:ann"), (7, "user:7"), (-1, "user:-1"), ("x" * 250, None)])
def test_channels_of_users(user_id, channel):
    assert encode.user_channel(user_id) == (channel or "user:%s" % user_id)


def test_the_channel_of_a_uuid():
    assert encode.user_channel(uuid.UUID(int=7)) == "user:00000000-0000-0000-0000-000000000007"


def test_refuses_data_that_is_neither_text_nor_json():
    assert get_message(InvalidEvent, body, b"x") == (
        "data must be text or what JSON can express; data is b'x' of type bytes (Object of type bytes is not JSON "
        "serializable); convert it before you publish"
    )


def test_refuses_numbers_that_json_does_not_have():
    assert get_message(InvalidEvent, body, {"a": [1, float("nan")]}) == (
        "data must be text or what JSON can express; data['a'][1] is nan of type float (JSON has no NaN, and "
        "JSON.parse refuses it); send None or a text in its place"
    )
    assert "(JSON has no -Infinity, and" in get_message(InvalidEvent, body, -float("inf"))


def test_takes_texts_that_look_like_such_numbers():
    assert body(["NaN", {"Infinity": 1}]) == b'data: ["NaN",{"Infinity":1}]\n\n'


def test_refuses_data_that_contains_itself():
    data = []
    data.append(data)
    assert get_message(InvalidEvent, body, data) == (
        "data must be text or what JSON can express; data is [[...]] of type list (Circular reference detected); "
        "convert it before you publish"
    )


def test_refuses_data_that_is_nested_too_deeply():
    data = []
    for _ in range(100_000):
        data = [data]
    assert "of type list (" in get_message(InvalidEvent, body, data)


def test_refuses_lone_surrogates_in_data():
    assert get_message(InvalidEvent, body, "a\ud800").endswith("has a lone surrogate, which UTF-8 cannot encode")
    assert get_message(InvalidEvent, body, ["\udc00"]).endswith("has a lone surrogate, which UTF-8 cannot encode")


def test_refuses_events_over_the_limit():
    assert get_message(EventTooLarge, encode.make_body, "jobs", "x" * 100, limit=100) == (
        "an event has at most 100 bytes (SSEMUX_MAX_EVENT_BYTES); this one for channel 'jobs' has 122; send a link to "
        "the data instead"
    )


def test_messages_are_short_even_for_long_values():
    assert len(get_message(InvalidEvent, body, [b"x" * 10_000])) < 300


# -- random events ------------------------------------------------------------

#: Text that UTF-8 can encode, with more of what could go wrong than chance would give.
hostile = st.one_of(
    st.text(),
    st.text(st.sampled_from("\r\n\0\ufeff:a id" + "".join(NO_LINE_ENDS))),
    st.lists(st.sampled_from(["\n", "\r", "\r\n", "data: x", "id: 9", "event: y", "retry: 1", ":", " "])).map("".join),
)
names = hostile.filter(lambda name: name and not re.search("[\r\n\0]", name)).filter(
    lambda name: not name.startswith("ssemux.") and len(name) <= 255
)
cursors = st.builds(Cursor, st.from_regex("[0-9a-z]{4,16}", fullmatch=True), st.integers(0, 10**18 - 1))
# No subnormal numbers: if an old build of gevent is loaded, the processor may take them for zero.
numbers = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | hostile,
    lambda inner: st.lists(inner) | st.dictionaries(hostile, inner),
    max_leaves=8,
)


@given(hostile, st.none() | names, cursors)
@example("", None, Cursor("0000", 0))
def test_any_text_arrives(data, event, cursor):
    (seen,) = parse(encode.make_frame(body(data, event), str(cursor))).frames
    assert (seen.data, seen.event, seen.id) == (normal(data), event or "message", str(cursor))
    assert (seen.dispatched, seen.comments, seen.retry, seen.fields) == (True, (), None, {})


@given(hostile, st.none() | names, names)
def test_any_channel_arrives(data, event, channel):
    made = encode.make_body(channel, data, event)
    (seen,) = parse(made).frames
    assert seen.fields == ({"channel": channel} if encode.is_named(channel) else {})
    (other,) = parse(encode.move_channels_to_comments(made)).frames
    assert other == seen._replace(fields={}, comments=tuple(" channel: " + name for name in seen.fields.values()))
    assert (seen.data, seen.event, seen.own_id) == (normal(data), event or "message", None)


@given(st.text(st.characters(), max_size=300), st.text(st.characters(), max_size=300), hostile)
def test_all_that_is_accepted_is_one_event(channel, event, data):
    try:
        made = encode.make_body(channel, data, event)
    except InvalidEvent:
        return
    assert [seen.data for seen in parse(made).frames] == [normal(data)]


@given(json_values)
def test_any_json_arrives(data):
    (seen,) = parse(body(data)).events
    assert seen.data == (normal(data) if isinstance(data, str) else convert_to_text(data))
    assert isinstance(data, str) or "\n" not in seen.data


@given(hostile)
def test_clients_show_nothing_of_a_comment(text):
    comment = encode.make_comment(text)
    assert parse(comment).frames == []
    (seen,) = parse(comment + b"\n").frames
    assert (seen.dispatched, seen.own_id, seen.retry, seen.fields) == (False, None, None, {})
    assert seen.comments == tuple(" " + line for line in normal(text).split("\n"))


@given(st.integers(0, 10**9), hostile)
def test_retry_contains_its_number_and_nothing_else(milliseconds, note):
    assert parse(encode.make_retry(milliseconds, note)).frames == []
    (seen,) = parse(encode.make_retry(milliseconds, note) + b"\n").frames
    assert (seen.retry, seen.dispatched, seen.own_id, seen.fields) == (milliseconds, False, None, {})


@given(st.sampled_from(["hello", "reset", "degraded"]), hostile, st.none() | cursors)
def test_own_frames_arrive(event, data, cursor):
    (seen,) = parse(encode.make_own_frame(event, data, cursor)).frames
    assert (seen.event, seen.data) == ("ssemux." + event, normal(data))
    assert seen.own_id == (None if cursor is None else str(cursor))


frames = st.one_of(
    st.builds(
        lambda data, event, at: encode.make_frame(body(data, event), str(at)), hostile, st.none() | names, cursors
    ),
    st.builds(lambda text, frame: encode.make_comment(text) + frame, hostile, st.just(encode.HEARTBEAT)),
    st.just(encode.HEARTBEAT),
    st.builds(
        lambda *made: encode.make_retry(*made) + encode.make_own_frame("hello", {}), st.integers(1, 99999), hostile
    ),
)


@given(st.lists(frames), st.data())
def test_where_the_bytes_are_split_makes_no_difference(made, choose):
    stream = b"".join(made)
    at = choose.draw(st.integers(0, len(stream)))
    parser = Parser()
    parser.feed(stream[:at])
    parser.feed(stream[at:])
    assert parser.frames == parse(stream).frames
    assert len(parser.frames) == len(made)


# -- other parsers -----------------------------------------------------------


def by_httpx(stream):
    def answer(request):
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, content=stream)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    with client, httpx_sse.connect_sse(client, "GET", "http://test/events") as source:
        return list(source.iter_sse())


def by_sseclient(stream, size=None):
    pieces = [stream] if size is None else [stream[at : at + size] for at in range(0, len(stream), size)]
    return list(sseclient.SSEClient(pieces).events())


def httpx_splits_as_the_standard():
    """Since 0.4.1 httpx-sse has a line decoder of its own; before, httpx's ``splitlines`` split at more characters."""
    return hasattr(httpx_sse._decoders, "SSELineDecoder")


@CASE
def test_httpx_sse_reads_the_cases(case):
    (seen,) = by_httpx(encode.make_frame(case.frame, "abcd-7"))
    assert (seen.event, seen.data, seen.id) == (case.name, case.text, "abcd-7")


@CASE
def test_sseclient_reads_the_cases(case):
    (seen,) = by_sseclient(encode.make_frame(case.frame, "abcd-7"))
    assert (seen.event, seen.data, seen.id) == (case.name, case.text, "abcd-7")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_sseclient_reads_them_in_pieces(size):
    seen = by_sseclient(b"".join(case.frame for case in CASES), size)
    assert [(event.event, event.data) for event in seen] == [(case.name, case.text) for case in CASES]


@pytest.mark.parametrize("read", [by_httpx, by_sseclient])
@pytest.mark.parametrize("form", [bytes, encode.move_channels_to_comments])
def test_other_parsers_ignore_the_channel(read, form):
    (seen,) = read(form(encode.make_body("jobs:42", "x", "progress")))
    assert (seen.event, seen.data) == ("progress", "x")


def test_other_parsers_see_no_heartbeat_before_the_first_id():
    assert by_httpx(encode.HEARTBEAT) == by_sseclient(encode.HEARTBEAT) == []


def test_sseclient_sees_no_heartbeat_after_an_id_either():
    stream = encode.make_frame(body("x"), "abcd-7") + encode.HEARTBEAT + encode.make_retry(5, "x")
    assert [seen.data for seen in by_sseclient(stream)] == ["x"]


def test_quirk_httpx_sse_reports_a_heartbeat_after_an_id_as_an_empty_message():
    seen = by_httpx(encode.make_frame(body("x"), "abcd-7") + encode.HEARTBEAT)
    assert [(event.event, event.data, event.id) for event in seen] == [
        ("message", "x", "abcd-7"),
        ("message", "", "abcd-7"),
    ]


def test_quirk_httpx_sse_reports_a_retry_alone_as_an_empty_message():
    assert by_httpx(encode.make_retry(3000, "ssemux")) == []
    (seen,) = by_httpx(encode.make_retry(3000, "ssemux") + b"\n")
    assert (seen.event, seen.data, seen.id, seen.retry) == ("message", "", "", 3000)


@pytest.mark.parametrize("character", NO_LINE_ENDS, ids=ascii)
def test_quirk_old_httpx_sse_loses_what_follows_other_line_ends(character):
    (seen,) = by_httpx(body("a%sb" % character))
    assert seen.data == ("a%sb" % character if httpx_splits_as_the_standard() else "a")


@pytest.mark.parametrize("character", NO_LINE_ENDS, ids=ascii)
def test_sseclient_splits_at_the_standards_line_ends_only(character):
    (seen,) = by_sseclient(body("a%sb" % character))
    assert seen.data == "a%sb" % character
