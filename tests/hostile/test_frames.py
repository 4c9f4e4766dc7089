"""Hostile events: each is refused or arrives unchanged, and no event forges another. Four parsers judge.

A small model says what may be published, written from the README and not from the code.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flask_ssemux
from tests.hostile import judges
from tests.hostile.corpus import TEXTS, UNSAYABLE, quoted

LIMIT = 256 * 1024


@pytest.fixture(scope="module")
def site(fortress):
    """One worker without heartbeats while a test runs: its streams send only their events."""
    env = {"SSEMUX_HEARTBEAT": "60", "SSEMUX_CLIENT_TIMEOUT": "200", "SSEMUX_QUEUE_EVENTS": "100000"}
    found = fortress(SSEMUX_QUEUE_BYTES=str(64 * 1024 * 1024), **env)
    yield found
    assert "Traceback" not in found.server.log


def is_text(value):
    try:
        return bool(value.encode("utf-8")) or True
    except UnicodeEncodeError:
        return False


def is_name(value):
    """Return whether this is a valid name of a channel or an event."""
    strange = {"\r", "\n", "\0"} & set(value)
    return 0 < len(value) <= 255 and not strange and not value.startswith("ssemux.") and is_text(value)


def may_be_published(channel, data, event):
    text = data if isinstance(data, str) else json.dumps(data)  # Flask's provider escapes what UTF-8 cannot encode
    return is_name(channel) and (event is None or is_name(event)) and is_text(text) and len(text) < LIMIT


def seen(data):
    """Return what a client receives: each line's end, however it was written, is LF."""
    return data.replace("\r\n", "\n").replace("\r", "\n") if isinstance(data, str) else data


def follow(site, channels, events, judged_by):
    """Publish to a stream of these channels; check with each judge that it received what it should."""
    events = json.loads(json.dumps(events))  # as the server gets them: JSON makes one character of a surrogate pair
    path = b"/events?" + b"&".join(b"channel=" + quoted(channel) for channel in channels)
    with site.stream(path.decode()) as stream:
        stream.wait_for(b"ssemux.hello", 5)
        answers = site.publish(*events)
        expected = []
        for (channel, data, event), answer in zip(events, answers):
            assert ("cursor" in answer) == may_be_published(channel, data, event), (channel, data, event, answer)
            if "cursor" not in answer:
                assert answer["error"] in ("InvalidEvent", "InvalidChannel", "EventTooLarge"), answer
            elif channel in channels or channel == "*":
                expected.append((event or "message", data, answer["cursor"]))
        (last,) = site.publish(["*", "the last", "last"])
        stream.wait_for(b"event: last\ndata: the last\nid: %s\n\n" % last["cursor"].encode(), 10)
        body = stream.body
    for judge in judged_by:
        hello, *got, end = judge(body)
        assert (hello[0], end) == ("ssemux.hello", ("last", "the last", last["cursor"])), judge.__name__
        assert len(got) == len(expected), (judge.__name__, got, expected)
        for (event, data, own_id), (name, wanted, cursor) in zip(got, expected):
            received = data if isinstance(wanted, str) else json.loads(data)
            assert (event, received, own_id) == (name, seen(wanted), cursor), judge.__name__
    return expected


def test_every_text_in_every_part_of_an_event(site):
    """As data, within JSON, as an event's name, and as all of these."""
    texts = TEXTS + UNSAYABLE
    events = [event for text in texts for event in (
        ["room:1", text, None], ["room:1", {text: [text, {"x": text}]}, None], ["room:1", "x", text], ["*", text, text],
        ["room:2", text + "\n" + text, text],
    )]  # fmt: skip
    arrived = follow(site, ["room:1", "room:2"], events, judges.ALL)
    assert len(arrived) > len(texts) * 3


def test_every_text_in_a_channel(site):
    """Channels that match a rule's pattern, in streams with as many as fit into a request."""
    names = ["room:" + text for text in TEXTS if is_name("room:" + text) and ":" not in text]
    assert len(names) > 60
    for start in range(0, len(names), 10):
        some = names[start : start + 10]
        arrived = follow(site, some, [[name, "to " + name, None] for name in names], judges.IN_PYTHON)
        assert [data for _, data, _ in arrived] == ["to " + name for name in some]


def test_an_invalid_channel_cannot_be_published_to(site):
    follow(site, ["room:1"], [[text, "x", None] for text in TEXTS + UNSAYABLE + [""]], judges.IN_PYTHON)


TEXT = st.one_of(
    st.text(max_size=30),
    st.text("\r\n\0:adti \ufeff\u2028", max_size=12),
    st.sampled_from(TEXTS + UNSAYABLE),
    st.text(st.characters(categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), max_size=5),
)
#: No subnormal ones: an old build of gevent makes the CPU treat them as zero.
FLOATS = st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EVENT = st.tuples(st.sampled_from(["room:1", "*", "room:other"]) | TEXT, TEXT | JSON, st.none() | TEXT).map(list)


@settings(max_examples=150, deadline=None)
@given(events=st.lists(EVENT, min_size=1, max_size=6))
def test_any_event(site, events):
    follow(site, ["room:1"], events, judges.IN_PYTHON)


class Rude:
    """An object whose repr and conversion fail."""

    def __repr__(self):
        raise RuntimeError("no")


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


def endless():
    value = []
    value.append(value)
    return value


BOMBS = {
    "deep": lambda: nested(100000),
    "endless": endless,
    "a number of 10000 digits": lambda: 10**10000,
    "NaN": lambda: float("nan"),
    "infinity within": lambda: [1, {"x": float("-inf")}],
    "10 MB": lambda: "x" * 10**7,
    "lines that grow sevenfold": lambda: "\n" * 50000,
    "characters that grow threefold": lambda: "\u2028" * 90000,
    "escapes that grow sixfold": lambda: ["\x01" * 50000],
    "bytes": lambda: b"data: x\n\n",
    "a set": lambda: {1},
    "keys that are no text": lambda: {(1, 2): 3},
    "a rude object": Rude,
    "a rude object within": lambda: [Rude()],
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_nothing_of_it_arrives(site, name):
    """The event is published from a process beside the server; the error names the rule that it breaks."""
    with site.stream("/events?channel=room:1") as stream, flask_ssemux.Publisher(site.broker_url) as publisher:
        stream.wait_for(b"ssemux.hello", 5)
        for publish in (publisher.publish, lambda _, data: publisher.broadcast(data)):
            with pytest.raises(flask_ssemux.InvalidEvent) as refused:
                publish("room:1", BOMBS[name]())
            assert len(str(refused.value)) < 1000
        cursor = publisher.publish("room:1", "after it")
        stream.wait_for(b"data: after it\n", 5)
        assert [event.id for event in stream.events()[1:]] == [str(cursor)]
