"""Wrapped streams send what their generators yield, to the byte; heartbeats beside it forge and cut no event."""

from __future__ import annotations

import json
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile import wild
from tests.hostile.corpus import TEXTS, UNSAYABLE, get
from tests.hostile.judges import by_the_standard

#: What comes before the generator's first byte, if the client asks for an event stream.
OPENING = {b"GET": b"retry: 3000\n: ssemux\n", b"POST": b""}


@pytest.fixture(scope="module")
def site(fortress):
    return fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200")


@pytest.fixture(scope="module")
def beating(fortress):
    return fortress(SSEMUX_HEARTBEAT="0.3", SSEMUX_CLIENT_TIMEOUT="6")


def yielding(site, method, items, begun=None):
    """Return the whole answer of a wrapped stream whose generator yields these items."""
    body = json.dumps(items).encode("ascii")
    headers = (b"Content-Type: application/json", b"Content-Length: %d" % len(body), b"Accept: text/event-stream")
    return wild.send(site.port, get(b"/old", *headers, method=method, body=body), begun=begun)


def raw(*pieces):
    return [{"bytes": list(piece)} for piece in pieces]


def as_bytes(item):
    return item.encode("utf-8") if isinstance(item, str) else bytes(item["bytes"])


ITEM = st.one_of(st.text(max_size=40), st.sampled_from(TEXTS), st.binary(max_size=40).map(lambda data: raw(data)[0]))


@settings(max_examples=100, deadline=None)
@given(method=st.sampled_from(sorted(OPENING)), items=st.lists(ITEM, max_size=8))
def test_the_output_arrives_unchanged(site, method, items):
    reply = yielding(site, method, items)
    assert (reply.status, reply.body) == (200, OPENING[method] + b"".join(map(as_bytes, items)))


@pytest.mark.parametrize("item", UNSAYABLE + [{"other": 5}, {"other": None}, {"other": ["data: x\n\n"]}, {"other": {}}])
def test_an_item_that_no_socket_accepts_ends_the_stream_and_is_logged(site, item):
    reply = yielding(site, b"GET", ["data: before\n\n", item, "data: after\n\n"])
    assert (reply.status, reply.body) == (200, OPENING[b"GET"] + b"data: before\n\n")
    site.server.wait_log("the generator of a wrapped stream raised; the stream ends", 2)
    assert "Error handling request" not in site.server.log  # gunicorn logs this when it cuts a connection


#: A frame for each of the standard's line ends.
FRAMES = {end: end.join([b"event: a", b"data: one", b"data: two", b"", b""]) for end in (b"\n", b"\r\n", b"\r")}

#: Where a frame is cut: before it, within a line, within the end of a line, between lines, within its end, after it.
CUTS = [0, 3, 8, 9, 13, 18, 19, 20, 28, 29, 30, 31, 32, 33, 34]

CASES = [(method, end, cut) for method in OPENING for end, frame in FRAMES.items() for cut in CUTS if cut <= len(frame)]


def test_heartbeats_come_between_frames_only(beating):
    """Each stream sends a frame in two pieces with a silence between them, then another frame; all streams at once."""

    def ask(case):
        method, end, cut = case
        frame = FRAMES[end]
        return yielding(beating, method, [*raw(frame[:cut]), {"sleep": 1.0}, *raw(frame[cut:], frame)])

    with ThreadPoolExecutor(len(CASES)) as pool:
        for (method, end, cut), reply in zip(CASES, pool.map(ask, CASES)):
            frame, begun = FRAMES[end], OPENING[method] + FRAMES[end][:cut]
            is_allowed = cut == len(frame) or (cut == 0 and method == b"GET")
            between = re.escape(begun) + (b"(: heartbeat\n)+" if is_allowed else b"") + re.escape(frame[cut:] + frame)
            assert re.fullmatch(between, reply.body), (method, end, cut, reply.body)
            assert by_the_standard(reply.body) == [("a", "one\ntwo", "")] * 2, (method, end, cut, reply.body)


def test_a_deploy_in_the_middle_of_an_event_does_not_turn_its_beginning_into_an_event(fortress):
    """The generators sleep within a frame when their worker stops. Half an event does not become an event."""
    site = fortress(SSEMUX_HEARTBEAT="60", SSEMUX_CLIENT_TIMEOUT="200")
    wanted = [case for case in CASES if case[2]]
    begun = threading.Semaphore(0)

    def ask(case):
        method, end, cut = case
        start = FRAMES[end][:cut]
        return yielding(site, method, [*raw(start), {"sleep": 30}], (OPENING[method] + start, begun.release))

    with ThreadPoolExecutor(len(wanted)) as pool:
        answers = [pool.submit(ask, case) for case in wanted]
        for _ in wanted:
            assert begun.acquire(timeout=10)
        site.server.signal(signal.SIGTERM)
        for (method, end, cut), answer in zip(wanted, answers):
            body, start = answer.result(10).body, OPENING[method] + FRAMES[end][:cut]
            is_told = cut == len(FRAMES[end]) and method == b"GET"
            last = rb"retry: \d+\n: this worker stops\n" if is_told else b""
            assert re.fullmatch(re.escape(start) + last, body), (method, end, cut, body)
