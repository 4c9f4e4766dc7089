"""Requests that get no stream: how they are answered, counted and logged."""

from __future__ import annotations

import pytest

import flask_ssemux
from flask_ssemux.http.stream_request import MAX_QUERY_BYTES
from tests.unit.test_extension import HEADERS, first, opened


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.authorize("room:<name>")(lambda user_id, name: True)
    made.add_stream("/fixed", ["news"], public=True)
    return made


def figures(app):
    worker = app.extensions["ssemux"].worker
    return worker.running().reporter.get_figures()


def test_a_query_that_is_too_long_is_refused_before_it_is_read(make_app, mux):
    app = make_app(mux)
    query = "channel=room:" + "x" * (MAX_QUERY_BYTES - 13)
    for url in ("/events", "/fixed"):
        response = app.test_client().get(url + "?" + query + "x")
        assert response.status_code == 414
        told = "a query has at most %d bytes; this one has %d" % (MAX_QUERY_BYTES, MAX_QUERY_BYTES + 1)
        assert response.get_json() == {"error": "query_too_long", "message": told}
        assert all(response.headers[name] == value for name, value in HEADERS.items())
    assert app.test_client().get("/events?" + query).get_json()["error"] == "bad_request"  # its channel's name is long


@pytest.mark.parametrize("url", ["/events", "/fixed"])
@pytest.mark.parametrize(
    "options",
    [
        {"headers": {"Last-Event-ID": "stop"}},
        {"query_string": {"lastEventId": "stop"}},
        {"query_string": {"last_event_id": "abcd-1"}, "headers": {"Last-Event-ID": "stop"}},
    ],
)
def test_a_client_that_was_told_to_stay_away_gets_a_204(make_app, mux, url, options):
    response = make_app(mux).test_client().get(url, **options)
    assert (response.status_code, response.data) == (204, b"")
    assert all(response.headers[name] == value for name, value in HEADERS.items())


def test_streams_that_are_sent_away_are_counted_and_logged_once(make_app, mux, caplog):
    app = make_app(mux, SSEMUX_MAX_STREAMS=1)
    why = "this worker holds 1 streams, the maximum (SSEMUX_MAX_STREAMS)"
    with opened(app):
        for _ in range(5):
            seen = first(app)
            assert seen.retry in range(10000, 30001) and seen.comments == [" " + why] and not seen.frames
    assert [line for line in caplog.messages if "sent away" in line] == ["a stream was sent away: " + why]
    seen = figures(app)
    assert (seen["refused"], seen["refused_why"]) == (5, {why: 5})
    assert figures(make_app(mux, name="other"))["refused"] == 0
