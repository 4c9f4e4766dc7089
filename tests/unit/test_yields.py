"""What a generator may yield, and how it is read."""

from __future__ import annotations

import pytest

from flask_ssemux.errors import InvalidEvent
from flask_ssemux.runs import yields
from flask_ssemux.runs.yields import TextMeaning, YieldReader

OLD = 'id: 7\nevent: job\ndata: {"id": 7}\n\n: a comment\n\nretry: 500\n\ndata: first\ndata: second\r\n\r\n'
READ = [("job", '{"id": 7}'), (None, "first\nsecond")]


@pytest.mark.parametrize(
    "value, events",
    [
        (("job", {"id": 7}), [("job", {"id": 7})]),
        ((None, "data: x\n\n"), [(None, "data: x\n\n")]),
        ({"id": 7}, [(None, {"id": 7})]),
        (["job", 7], [(None, ["job", 7])]),
        (7, [(None, 7)]),
        ("a text", [(None, "a text")]),
        ("", [(None, "")]),
        (": a text\n\n", [(None, ": a text\n\n")]),
        ("data: x", [(None, "data: x")]),
        ("data: x\n", [(None, "data: x\n")]),
        ("the data: x\n\n", [(None, "the data: x\n\n")]),
        ("event: job\ndata: x\n\n", [("job", "x")]),
        (b"event: job\ndata: x\n\n", [("job", "x")]),
        (OLD, READ),
        ("id: 7\n\n", []),
        (None, []),
    ],
)
def test_the_forms_of_a_yield(value, events):
    assert YieldReader().read_yield(value) == events


@pytest.mark.parametrize("size", range(1, 12))
def test_text_of_an_old_generator_may_be_cut_anywhere(size):
    reader = YieldReader(TextMeaning.FRAMES)
    pieces = [OLD[start : start + size] for start in range(0, len(OLD), size)]
    found = [event for piece in pieces for event in reader.read_yield(piece)]
    # a CR at the end may be the first half of a CRLF: the last frame is whole when the next text comes
    assert found + reader.read_yield(": more\n") == READ


@pytest.mark.parametrize("value", [("job",), (1, 2), ("job", 1, 2), (b"job", 1)])
def test_other_tuples_are_refused(value):
    with pytest.raises(InvalidEvent, match="a generator yields data, or a pair of the event's name and data, not the"):
        YieldReader().read_yield(value)


def test_a_text_can_always_be_data():
    reader = YieldReader(TextMeaning.DATA)
    assert reader.read_yield("data: x\n\n") == [(None, "data: x\n\n")]


def test_a_frame_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(yields, "MAX_FRAME_BYTES", 100)
    reader = YieldReader(TextMeaning.FRAMES)
    assert reader.read_yield("data: " + 50 * "x") == reader.read_yield("data: y\n") == []
    with pytest.raises(InvalidEvent, match="no empty line in 100 bytes"):
        reader.read_yield(50 * "x")
    for _ in range(10):  # what is complete is not counted
        assert reader.read_yield("data: 1\n\n" + "data: " + 60 * "x" + "\n\n")[0] == (None, "1")
