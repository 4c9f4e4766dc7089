"""Which bodies are event streams, and what may be added to them."""

from __future__ import annotations

import pytest
from flask import Flask, Response

import flask_ssemux
from flask_ssemux.http import wrapped_generator
from flask_ssemux.http.wrapped_body import Additions, BodyBeginning, choose_additions

AT_ONCE, WITH_EVENT, HEARTBEATS, NOTHING = Additions


@pytest.mark.parametrize(
    "items, expected",
    [
        ([b"data: 1\n\n"], [True]),
        ([b"data:1\r\n\r\n"], [True]),
        ([b": comment"], [True]),
        ([b"\xef\xbb\xbfdata: 1\n"], [True]),
        ([b"\n\nevent: a\n"], [True]),
        ([b"retry: 1\r"], [True]),
        ([b"id\n"], [True]),
        ([b"own: 1\ndata: 1\n\n"], [True]),  # a field that the standard does not know, before one that it knows
        ([b"d", b"a", b"ta", b": 1"], [None, None, None, True]),
        ([b"data", b"\n"], [None, True]),
        ([b"", b"\n", b"\r\n", b"data: 1"], [None, None, None, True]),
        ([b"data", b" science"], [None, False]),
        ([b"id", b"ea"], [None, False]),
        ([b"\n\n", b"Once"], [None, False]),
        ([b"Once upon"], [False]),
        ([b"Sure: here"], [False]),
        ([b" data: 1\n\n"], [False]),
        ([b"Data: 1\n\n"], [False]),
        ([b'{"data": 1}\n'], [False]),
        ([b"<!doctype html>"], [False]),
        ([b"\x1f\x8b\x08"], [False]),
    ],
)
def test_how_an_event_stream_begins(items, expected):
    beginning = BodyBeginning()
    assert [beginning.add_item(item) for item in items] == expected


@pytest.mark.parametrize(
    "content_type, encoding, method, accept, expected",
    [
        ("text/event-stream", None, "GET", "text/event-stream", AT_ONCE),
        ("text/event-stream", None, "GET", "text/html, Text/Event-Stream;q=0.9", AT_ONCE),
        ("text/event-stream", None, "GET", "*/*", WITH_EVENT),
        ("text/event-stream", None, "GET", None, WITH_EVENT),
        ("Text/Event-Stream ; charset=utf-8", "identity", "GET", "text/event-stream", AT_ONCE),
        ("text/event-stream", None, "POST", "text/event-stream", HEARTBEATS),
        ("text/event-stream", "gzip", "GET", "text/event-stream", NOTHING),
        ("text/event-stream-x", None, "GET", "text/event-stream", NOTHING),
        ("application/x-ndjson", None, "GET", "text/event-stream", NOTHING),
        ("text/html; charset=utf-8", None, "GET", "*/*", NOTHING),
    ],
)
def test_what_may_be_added(content_type, encoding, method, accept, expected):
    response = Response(iter(()), content_type=content_type)
    if encoding is not None:
        response.headers["Content-Encoding"] = encoding
    environ = {"REQUEST_METHOD": method, **({} if accept is None else {"HTTP_ACCEPT": accept})}
    assert choose_additions(response, environ) is expected


def test_an_item_that_is_no_text_is_named_by_its_type_and_with_the_fix():
    """The error is logged, and the log has no part of an event's data."""
    with pytest.raises(TypeError) as caught:
        wrapped_generator._encode_item({"text": "s3cr3t"})
    assert str(caught.value) == (
        "the generator of a wrapped stream yields text or bytes, not a value of type dict: make text of it first, for "
        "an event with 'data: %s\\n\\n' % json.dumps(...)"
    )


@pytest.mark.parametrize(
    "items", [["\ufeffdata: 1\n\n"], ["\ufeff", "data: 1\n\n"], [b"\xef\xbb\xbf", b"", b"data: 1\n\n"]]
)
@pytest.mark.parametrize("accept", ["text/event-stream", "*/*"])
def test_a_byte_order_mark_is_not_sent_after_the_opening(tmp_path, items, accept):
    """A client would take it for a part of the first field's name, and ignore the event."""
    app = Flask("old", instance_path=str(tmp_path))
    flask_ssemux.SSEMux(app)
    app.add_url_rule("/old", "old", flask_ssemux.streaming(lambda: Response(iter(items), mimetype="text/event-stream")))
    body = app.test_client().get("/old", headers={"Accept": accept}).get_data()
    assert body.startswith(b"retry: ") and body.endswith(b"\ndata: 1\n\n")
