"""Wrapped streams send what their generators yield, to the byte; heartbeats beside it forge and cut no event."""

from __future__ import annotations

import json
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.parser import parse
from tests.hostile import wild
from tests.hostile.corpus import TEXTS, UNSAYABLE, get
from tests.hostile.judges import by_the_standard


@pytest.fixture(scope="module")
def site(fortress):
    return fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200")


@pytest.fixture(scope="module")
def beating(fortress):
    return fortress(SSEMUX_HEARTBEAT="0.3", SSEMUX_CLIENT_TIMEOUT="6")


def yielding(site, items, begun=None):
    """Return the whole answer of a wrapped stream whose generator yields these items."""
    body = json.dumps(items).encode("ascii")
    headers = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    return wild.send(site.port, get(b"/old", *headers, method=b"POST", body=body), begun=begun)


def raw(*pieces):
    return [{"bytes": list(piece)} for piece in pieces]


def as_bytes(item):
    return item.encode("utf-8") if isinstance(item, str) else bytes(item["bytes"])


ITEM = st.one_of(st.text(max_size=40), st.sampled_from(TEXTS), st.binary(max_size=40).map(lambda data: raw(data)[0]))


@settings(max_examples=100, deadline=None)
@given(items=st.lists(ITEM, max_size=8))
def test_the_output_arrives_unchanged(site, items):
    reply = yielding(site, items)
    assert (reply.status, reply.body) == (200, b"".join(map(as_bytes, items)))


@pytest.mark.parametrize("item", UNSAYABLE + [{"other": 5}, {"other": None}, {"other": ["data: x\n\n"]}, {"other": {}}])
def test_an_item_that_no_socket_accepts_ends_the_stream_and_is_logged(site, item):
    reply = yielding(site, ["data: before\n\n", item, "data: after\n\n"])
    assert (reply.status, reply.body) == (200, b"data: before\n\n")
    site.server.wait_log("the generator of a wrapped stream raised; the stream ends", 2)
    assert "Error handling request" not in site.server.log  # gunicorn logs this when it cuts a connection


FRAMES = {
    "LF": b"event: a\ndata: one\ndata: two\n\n",
    "CRLF": b"event: a\r\ndata: one\r\ndata: two\r\n\r\n",
    "CR": b"event: a\rdata: one\rdata: two\r\r",
}


#: Where a frame is cut: before it, within a line, within the end of a line, between lines, within its end, after it.
CUTS = [0, 3, 8, 9, 13, 18, 19, 20, 28, 29, 30, 31, 32]


def test_a_heartbeat_in_any_place_changes_no_event(beating):
    """Each stream sends a frame in two pieces with a silence between them, then another frame; all streams at once."""
    wanted = [(end, frame, cut) for end, frame in FRAMES.items() for cut in CUTS if cut <= len(frame)]

    def ask(case):
        _, frame, cut = case
        return yielding(beating, [*raw(frame[:cut] or b": x\n\n"), {"sleep": 1.0}, *raw(frame[cut:], frame)])

    with ThreadPoolExecutor(len(wanted)) as pool:
        for (end, frame, cut), reply in zip(wanted, pool.map(ask, wanted)):
            assert by_the_standard(reply.body) == [("a", "one\ntwo", "")] * 2, (end, cut, reply.body)
            between = reply.body[len(frame[:cut]) :]
            is_within_a_line = frame[:cut] and frame[cut - 1 : cut] not in (b"\r", b"\n")
            assert (b": heartbeat" in between) != bool(is_within_a_line), (end, cut, reply.body)


def test_a_deploy_in_the_middle_of_an_event_does_not_turn_its_beginning_into_an_event(fortress):
    """The generators sleep within a frame when their worker stops. Half an event does not become an event."""
    site = fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200")
    wanted = [(end, frame, cut) for end, frame in FRAMES.items() for cut in CUTS if 0 < cut <= len(frame)]
    begun = threading.Semaphore(0)

    def ask(case):
        _, frame, cut = case
        return yielding(site, [*raw(frame[:cut]), {"sleep": 30}], (frame[:cut], begun.release))

    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = [pool.submit(ask, case) for case in wanted]
        for _ in wanted:
            assert begun.acquire(timeout=10)
        site.server.signal(signal.SIGTERM)
        for (end, frame, cut), answer in zip(wanted, answers):
            body = answer.result(10).body
            found = parse(body)
            assert len(found.events) == (cut == len(frame)), (end, cut, body)
            is_within_a_line = frame[cut - 1 : cut] not in (b"\r", b"\n")
            assert (found.retry is not None) != is_within_a_line, (end, cut, body)
