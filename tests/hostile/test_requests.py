"""Hostile requests to the URL of a stream: refused, or answered by a stream with nothing that is not for everyone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.parser import parse
from tests.hostile import corpus, wild
from tests.hostile.corpus import get, quoted

#: The statuses that are allowed. Every other one is a bug, above all a server error.
ANSWERS = {200, 304, 400, 401, 403, 404, 405, 414, 431}

FIELDS = [b"channel", b"new", b"lastEventId", b"last_event_id", b"ssemux_probe", b"ticket", b"tag", b"page", b"user_id"]
HEADERS = [b"Last-Event-ID", b"Cookie", b"Accept", b"Authorization", b"X-Forwarded-For", b"Origin", b"User-Agent"]


#: The end of the opening frames.
OPEN = rb'"timeout":200\.0}\n(id: \S+\n)?\n'
ENV = {"SSEMUX_HEARTBEAT": "60", "SSEMUX_CLIENT_TIMEOUT": "200"}


@pytest.fixture(scope="module")
def site(fortress):
    yield from watched(fortress(**ENV))


@pytest.fixture(scope="module")
def generator_site(fortress):
    """A server with the generator transport, which leaves the connections to gunicorn."""
    yield from watched(fortress(SSEMUX_TRANSPORT="generator", **ENV))


def watched(found):
    """Check the log when all tests of a server are over: it has no errors, and no line that a client wrote."""
    yield found
    assert "Traceback" not in found.server.log
    assert not [line for line in found.server.log.splitlines() if line.startswith(("data:", "forged", "event:", "id:"))]


def judge(answer, request, answers=ANSWERS):
    """Check that an answer is no server error and shows no internals; a stream has only the opening frames."""
    shown = request[:300]
    if request.startswith(b"HEAD"):
        assert (answer.status, answer.body) == (200, b""), (shown, answer)
        return
    assert answer.status in answers, (shown, answer)
    assert b"Traceback" not in answer.body and b'File "' not in answer.body, (shown, answer)
    assert not [name for name in answer.headers if name.startswith("access-control-")], "others may read it"
    if answer.headers.get("content-type") == "text/event-stream":
        frames = parse(answer.body).frames
        names = [frame.event for frame in frames]
        assert names in (["ssemux.hello"], ["ssemux.reset", "ssemux.hello"]), (shown, answer)
        assert 1500 <= frames[0].retry <= 4500, (shown, answer)
        assert answer.surplus == b"", (shown, answer)
    elif answer.headers.get("content-type") == "application/json":
        assert set(json.loads(answer.body or b"{}")) <= {"error", "message", "channel"}, (shown, answer)


def ask(site, request, answers=ANSWERS):
    answer = wild.send(site.port, request, until=OPEN)
    judge(answer, request, answers)
    return answer


@pytest.mark.parametrize("name", corpus.REQUESTS)
def test_a_strange_request(site, generator_site, name):
    first, second = (ask(server, corpus.REQUESTS[name]).status for server in (site, generator_site))
    assert first == second


@pytest.mark.parametrize("name", corpus.SMUGGLED)
def test_a_request_with_two_ends(site, generator_site, name):
    """gunicorn refuses most of them. If the answer is a stream, it is the last answer on the connection."""
    for server in (site, generator_site):
        ask(server, corpus.SMUGGLED[name], ANSWERS | {501})


@pytest.mark.parametrize("field", FIELDS)
def test_every_text_in_every_field(site, field):
    for value in [*map(quoted, corpus.TEXTS + corpus.UNSAYABLE + corpus.CURSORS), *corpus.RAW]:
        ask(site, get(b"/events?" + field + b"=" + value[:3000]))


def test_every_text_as_a_part_of_an_allowed_channel(site):
    for value in [*map(quoted, corpus.TEXTS), *corpus.RAW]:
        answer = ask(site, get(b"/events?channel=room:" + value[:3000]))
        assert answer.status in (200, 400, 403)


def test_every_text_in_the_path(site):
    for value in [*map(quoted, corpus.TEXTS), *corpus.RAW]:
        ask(site, get(b"/fixed/" + value[:3000] + b"/stream"), ANSWERS | {308})


def test_every_cursor_opens_a_stream(site):
    for text in corpus.CURSORS:
        header = text.encode("utf-8")
        answer = ask(site, get(b"/events", b"Last-Event-ID: " + header))
        assert answer.status == 200 and b'"channels":["*"]' in answer.body, (text, answer)


@pytest.mark.parametrize("header", HEADERS)
def test_every_text_in_a_header(site, header):
    for text in corpus.TEXTS + corpus.UNSAYABLE:
        value = text.encode("utf-8", "surrogatepass")
        if not {b"\r", b"\n", b"\0"} & {value[i : i + 1] for i in range(len(value))}:  # these end a header
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
