"""The decoder of the format: the table of cases, the standard's corners, and fuzz against a parser of its own."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_ssemux.sse import encode
from flask_ssemux.sse.decode import Decoder, Frame
from tests.harness.parser import parse
from tests.unit.cases import CASES


def decode(*pieces):
    decoder = Decoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_the_table(case):
    (frame,) = decode(encode.make_frame(case.frame, "abcd-7"))
    assert frame == Frame(case.event or "", case.text, "abcd-7")


@pytest.mark.parametrize(
    "data, frame",
    [
        (b": heartbeat\n\n", Frame(comments=("heartbeat",))),
        (b"retry: 3000\n: ssemux\n: again\n\n", Frame(retry=3000, comments=("ssemux", "again"))),
        (b"channel: jobs:1\ndata: x\n\n", Frame(data="x", channel="jobs:1")),
        (b": channel: jobs:1\n: y\ndata: x\n\n", Frame(data="x", channel="jobs:1", comments=("y",))),
        (b":channel: jobs:1\n:  channel: z\ndata: x\n\n", Frame(data="x", channel="jobs:1", comments=(" channel: z",))),
        (b"data\n\n", Frame(data="")),
        (b"data:a\ndata: b\n\n", Frame(data="a\nb")),
        (b"event: a\nevent: b\ndata\n\n", Frame("b", "")),
        (b"id: 7\nid: \0\ndata\n\n", Frame(data="", id="7")),
        (b"id\ndata\n\n", Frame(data="", id="")),
        (b"retry: 5\nretry: %s\ndata\n\n" % (b"9" * 5000), Frame(retry=5, data="")),
        ("retry: ٣\nretry: -1\nretry: 1e3\ndata\n\n".encode(), Frame(data="")),
        (b"\xef\xbb\xbfdata: x\n\n", Frame(data="x")),
        (b"\n\n\ndata: \xff\n\n", Frame(data="�")),
    ],
)
def test_fields(data, frame):
    assert decode(data) == [frame]


@pytest.mark.parametrize(
    "data, frames",
    [
        (b": heartbeat\n", [Frame(comments=("heartbeat",))]),
        (b"retry: 5\n: bye\n", [Frame(retry=5, comments=("bye",))]),
        (b": channel: a\n", []),
        (b": heartbeat\n: channel: a\n", []),
        (b"data: half\nretry: 5\n: bye\n", []),
        (b"id: 7\n", []),
        (b": half a comm", []),
        (b"", []),
    ],
)
def test_comments_and_retry_need_no_empty_line(data, frames):
    decoder = Decoder()
    assert decoder.feed(data) == []
    assert decoder.take_comments() == frames
    assert decoder.take_comments() == []


def test_what_was_taken_is_not_in_the_next_frame():
    decoder = Decoder()
    assert decoder.feed(b": heartbeat\n") == [] and decoder.take_comments() == [Frame(comments=("heartbeat",))]
    assert decoder.feed(b"data: x\nid: 7\n\n") == [Frame(data="x", id="7")]


def test_only_a_stream_begins_with_a_byte_order_mark():
    assert decode(b"data: a\n\n\xef\xbb\xbfdata: b\n\n") == [Frame(data="a"), Frame()]


def test_a_frame_ends_with_its_empty_line():
    decoder = Decoder()
    assert decoder.feed(b"data: x\r") == [] == decoder.feed(b"\n\r")
    assert decoder.feed(b"\ndata: y") == [Frame(data="x")]


LINES = st.lists(
    st.sampled_from([b"data: a", b"data", b"event: b", b"id: 1", b"id: \0", b"retry: 5", b": c", b"x: y", b"", b"\xef"])
)


@given(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"]), st.lists(st.integers(0, 60)))
def test_pieces_of_any_size_as_the_standard_says(lines, end, cuts):
    data = end.join(lines) + 2 * end + b":"
    cuts = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    found = decode(*(data[start:stop] for start, stop in zip(cuts, cuts[1:])))
    seen = parse(data).frames
    assert [(frame.event or "message", frame.data or "", frame.id, frame.retry) for frame in found] == [
        (frame.event, frame.data, frame.own_id, frame.retry) for frame in seen
    ]
    assert [tuple(" " + text for text in frame.comments) for frame in found] == [
        tuple(frame.comments) for frame in seen
    ]


def test_a_long_line_that_comes_in_many_pieces_takes_time_in_proportion_to_its_length():
    begin = time.process_time()
    (frame,) = decode(b"data: ", *[b"x" * 1024] * 5 * 1024, b"\r", b"\ndata: y\r\n\r\n")
    assert frame.data == "x" * 5 * 1024 * 1024 + "\ny"
    assert time.process_time() - begin < 1.0
