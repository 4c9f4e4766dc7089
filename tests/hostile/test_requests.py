"""Hostile requests to a stream's URL: an answer that says no, or a stream of nothing but what everyone has."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.parser import parse
from tests.hostile import corpus, wild
from tests.hostile.corpus import get, quoted

#: What a client may be told; everything else, a server's error above all, is a bug.
ANSWERS = {200, 304, 400, 401, 403, 404, 405, 414, 431}

FIELDS = [b"channel", b"new", b"lastEventId", b"last_event_id", b"ssemux_probe", b"ticket", b"tag", b"page", b"user_id"]
HEADERS = [b"Last-Event-ID", b"Cookie", b"Accept", b"Authorization", b"X-Forwarded-For", b"Origin", b"User-Agent"]


#: The end of a stream's opening.
OPEN = b'"timeout":200.0}\n\n'
ENV = {"SSEMUX_HEARTBEAT": "60", "SSEMUX_CLIENT_TIMEOUT": "200"}


@pytest.fixture(scope="module")
def site(fortress):
    yield from watched(fortress(**ENV))


@pytest.fixture(scope="module")
def slow_lane(fortress):
    """The other transport, whose connections stay gunicorn's."""
    yield from watched(fortress(SSEMUX_TRANSPORT="generator", **ENV))


def watched(found):
    """Its log is looked at when all its tests are over: no errors, and no line that a client began."""
    yield found
    assert "Traceback" not in found.server.log
    assert not [line for line in found.server.log.splitlines() if line.startswith(("data:", "forged", "event:", "id:"))]


def judge(told, request, answers=ANSWERS):
    """An answer of ours: no server's error, no inner workings, and of a stream only the opening."""
    shown = request[:300]
    if request.startswith(b"HEAD"):
        assert (told.status, told.body) == (200, b""), (shown, told)
        return
    assert told.status in answers, (shown, told)
    assert b"Traceback" not in told.body and b'File "' not in told.body, (shown, told)
    assert not [name for name in told.headers if name.startswith("access-control-")], "others may read it"
    if told.headers.get("content-type") == "text/event-stream":
        frames = parse(told.body).frames
        names = [frame.event for frame in frames]
        assert names in (["message", "ssemux.hello"], ["message", "ssemux.reset", "ssemux.hello"]), (shown, told)
        assert (frames[0].data, frames[0].retry) == ("", 3000), (shown, told)
        assert told.surplus == b"", (shown, told)
    elif told.headers.get("content-type") == "application/json":
        assert set(json.loads(told.body or b"{}")) <= {"error", "message", "channel"}, (shown, told)


def ask(site, request, answers=ANSWERS):
    told = wild.send(site.port, request, until=OPEN)
    judge(told, request, answers)
    return told


@pytest.mark.parametrize("name", corpus.REQUESTS)
def test_a_strange_request(site, slow_lane, name):
    first, second = (ask(server, corpus.REQUESTS[name]).status for server in (site, slow_lane))
    assert first == second


@pytest.mark.parametrize("name", corpus.SMUGGLED)
def test_a_request_with_two_ends(site, slow_lane, name):
    """gunicorn refuses most; where a stream is answered, it is the connection's last answer."""
    for server in (site, slow_lane):
        ask(server, corpus.SMUGGLED[name], ANSWERS | {501})


@pytest.mark.parametrize("field", FIELDS)
def test_every_text_in_every_field(site, field):
    for value in [*map(quoted, corpus.TEXTS + corpus.UNSAYABLE + corpus.CURSORS), *corpus.RAW]:
        ask(site, get(b"/events?" + field + b"=" + value[:3000]))


def test_every_text_as_a_part_of_an_allowed_channel(site):
    for value in [*map(quoted, corpus.TEXTS), *corpus.RAW]:
        told = ask(site, get(b"/events?channel=room:" + value[:3000]))
        assert told.status in (200, 400, 403)


def test_every_text_in_the_path(site):
    for value in [*map(quoted, corpus.TEXTS), *corpus.RAW]:
        ask(site, get(b"/fixed/" + value[:3000] + b"/stream"), ANSWERS | {308})


def test_every_cursor_opens_a_stream(site):
    for text in corpus.CURSORS:
        header = text.encode("utf-8")
        told = ask(site, get(b"/events", b"Last-Event-ID: " + header))
        assert told.status == 200 and b'"channels":["*"]' in told.body, (text, told)


@pytest.mark.parametrize("header", HEADERS)
def test_every_text_in_a_header(site, header):
    for text in corpus.TEXTS + corpus.UNSAYABLE:
        value = text.encode("utf-8", "surrogatepass")
        if not {b"\r", b"\n", b"\0"} & {value[i : i + 1] for i in range(len(value))}:  # where HTTP says what follows
            ask(site, get(b"/events", header + b": " + value))


QUERY_BYTES = st.binary(max_size=40).map(lambda raw: bytes(b for b in raw if b > 32 and b not in b"#"))
VALUES = st.one_of(st.text(max_size=40).map(quoted), QUERY_BYTES, st.sampled_from(corpus.RAW))
HEADER_BYTES = st.binary(max_size=60).map(lambda raw: bytes(b for b in raw if b >= 32 and b != 127))


@settings(max_examples=400, deadline=None)
@given(
    query=st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=8),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), HEADER_BYTES), max_size=4),
)
def test_any_query_and_headers(site, query, headers):
    target = b"/events?" + b"&".join(name + b"=" + value for name, value in query)
    ask(site, get(target, *(name + b": " + value for name, value in headers)))
