"""What a client asks for, as one object: every part of a request that matters to a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from flask_ssemux.errors import BadRequest, BadTicket, QueryTooLong
from flask_ssemux.http.stream_request import MAX_QUERY_BYTES, PollMode, StreamRequest, _parse_query


class StreamURL(Request):
    """A request as Flask would pass it to the view of ``GET /events``."""

    endpoint = "ssemux.events"


def parse(query="", method="GET", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return StreamRequest.parse(
        StreamURL(EnvironBuilder("/events?" + query, method=method, headers=named).get_environ())
    )


#: Parts of queries: names, escaped and plain characters, and what separates them.
PARTS = ["channel", "channel=", "new", "=", "&", ";", "+", "%", "%3A", "%2b", "%zz", "%00", "%C3%A4", "%ff", "a", ":"]


@given(st.lists(st.sampled_from(PARTS)).map("".join) | st.text(st.characters(max_codepoint=0x7F), max_size=20))
def test_a_query_is_parsed_as_werkzeug_parses_it(query):
    environ = {**EnvironBuilder("/events").get_environ(), "QUERY_STRING": query}
    assert _parse_query(StreamURL(environ)) == StreamURL(environ).args.to_dict(flat=False)


def test_a_request_without_parameters():
    asked = parse()
    assert (asked.last_ids, asked.channels, asked.new_channels) == ([], (), ())
    assert (asked.ticket, asked.probe, asked.override) == (None, None, None)
    assert (asked.poll, asked.is_stopped, asked.is_head) == (PollMode.NONE, False, False)


def test_a_request_with_every_part():
    asked = parse(
        "channel=b&channel=a&new=a&ticket=x.y&lastEventId=abcd-1&last_event_id=&poll=now", Last_Event_ID="abcd-2"
    )
    assert (asked.channels, asked.new_channels, asked.ticket) == (["b", "a"], ["a"], "x.y")
    assert asked.last_ids == ["abcd-2", "abcd-1"]
    assert asked.poll is PollMode.NOW


LAST_ID_NAMES = ["lastEventId", "lastEventID", "Last-Event-ID", "Last-Event-Id", "last-event-id", "LAST_EVENT_ID"]


@pytest.mark.parametrize("name", [*LAST_ID_NAMES, "last_event_id", "evs_last_event_id"])
def test_the_names_of_a_cursor_in_any_case(name):
    assert parse(name + "=abcd-1&channel=a&" + name + "=abcd-2").last_ids == ["abcd-1", "abcd-2"]
    assert parse(name + "s=abcd-1").last_ids == []


@pytest.mark.parametrize("name", ["lastEventId", "Last-Event-ID", "last_event_id", "evs_last_event_id"])
def test_a_client_that_must_stay_away(name):
    assert parse(name + "=stop").is_stopped
    assert parse(name + "=abcd-1", Last_Event_ID="stop").is_stopped


@pytest.mark.parametrize("text, mode", [("1", PollMode.WAIT), ("true", PollMode.WAIT), ("now", PollMode.NOW)])
def test_the_ways_to_poll(text, mode):
    assert parse("poll=" + text).poll is mode


def test_the_token_of_a_probe_asks_for_a_stream():
    asked = parse("ssemux_probe=x&poll=1")
    assert (asked.probe, asked.poll) == ("x", PollMode.NONE)


def test_the_forms_of_channels():
    assert parse().channel_form is None
    for form in ("field", "comment"):
        assert parse("channel_form=" + form).channel_form == form


def test_a_head_request():
    assert parse(method="HEAD").is_head


@pytest.mark.parametrize(
    "error, message, query, headers",
    [
        (
            BadRequest,
            "channel_form='x' is not known; use channel_form=comment for a parser that reports an unknown field as an "
            "error, or channel_form=field",
            "channel_form=x",
            {},
        ),
        (
            BadRequest,
            "poll='2' is not known; use poll=1, which waits for an event, or poll=now, which does not wait",
            "poll=2",
            {},
        ),
        (BadTicket, "a request shows one ticket; this one shows 2", "ticket=x.y", {"Authorization": "Ticket x.y"}),
        (QueryTooLong, "a query has at most 8190 bytes; this one has 8191", "x" * (MAX_QUERY_BYTES + 1), {}),
    ],
)
def test_requests_that_cannot_be_parsed(error, message, query, headers):
    with pytest.raises(error) as caught:
        parse(query, **headers)
    assert str(caught.value) == message
