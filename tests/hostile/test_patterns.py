"""Patterns of channels under attack: matching takes linear time, and each channel has one reading.

The CPU time of whole requests is measured too: a client sends at most 8 KB, whatever the rules of the application are.
"""

from __future__ import annotations

import time
from urllib.parse import quote

import flask
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.access.patterns import Pattern
from flask_ssemux.access.presence_rules import PresenceRules
from flask_ssemux.errors import BadRequest, InvalidChannel

#: Seconds of CPU that a request may cost.
BOUND = 0.05

#: Bytes of a query that reaches the application.
QUERY = 8190

#: Few characters, so that separators, values and literal texts collide.
LETTERS = "ab-:."
SEPARATORS = st.text(LETTERS, min_size=1, max_size=3)


@st.composite
def patterns(draw, most=8):
    """Texts of patterns: a head, then variables with a separator between two of them, then a tail."""
    variables = draw(st.integers(0, most))
    separators = [draw(SEPARATORS) for _ in range(max(0, variables - 1))]
    names = ["<v%d>" % number for number in range(variables)]
    if variables and draw(st.booleans()):
        path = draw(st.integers(0, variables - 1))
        names[path] = "<path:v%d>" % path
    inner = "".join(name + separator for name, separator in zip(names, separators + [""]))
    head, tail = draw(st.text(LETTERS, max_size=3)), draw(st.text(LETTERS, max_size=3))
    return head + inner + tail or "a"


def cost(call, *args):
    """Seconds of CPU of this thread; the least of three, since the first call warms caches."""
    took = []
    for _ in range(3):
        began = time.thread_time()
        call(*args)
        took.append(time.thread_time() - began)
    return min(took)


@settings(max_examples=300, deadline=None)
@example("room:<year>-<month>-<day>-<hour>-<room>", "room:" + "-" * 200 + ":")
@example("<a>-<b>-<c>-<d>-<e>-<f>-<g>-<h>", "-" * 254 + ":")
@example("<a>a<b>a<c>a<d>b", "a" * 255)
@example("<a>-<b>-<path:c>-<d>-<e>", "-" * 255)
@example("<a>a<path:b>a<c>a<d>", "a" * 255)
@given(patterns(), st.text(LETTERS, max_size=255))
def test_matching_takes_little_cpu_time(pattern, channel):
    assert cost(Pattern(pattern).match, channel) < BOUND / 100


@settings(max_examples=300, deadline=None)
@given(patterns(), st.text(LETTERS, min_size=1, max_size=40))
def test_a_channel_has_one_reading_and_fill_gives_it_back(pattern, channel):
    made = Pattern(pattern)
    values = made.match(channel)
    if values is not None:
        assert made.fill(values) == channel
        assert all(value and (":" not in value or "<path:%s>" % name in pattern) for name, value in values.items())


@settings(max_examples=300, deadline=None)
@given(patterns(), st.lists(st.text(LETTERS.replace(":", ""), min_size=1, max_size=5), min_size=8, max_size=8))
def test_what_is_filled_in_is_read_as_it_was_or_refused(pattern, texts):
    made = Pattern(pattern)
    values = dict(zip(made.names, texts))
    try:
        channel = made.fill(values)
    except BadRequest:
        return
    assert made.match(channel) == values


@settings(max_examples=300, deadline=None)
@given(patterns(), patterns(), st.text(LETTERS, min_size=1, max_size=8))
def test_patterns_that_cannot_meet_have_no_channel_in_common(one, other, channel):
    first, second = Pattern(one), Pattern(other)
    if first.match(channel) is not None and second.match(channel) is not None:
        assert first.may_overlap(second) and second.may_overlap(first)


@pytest.mark.parametrize("text", ["<a><b>", "x:<a><b>:y", "<a>:<b><c>"])
def test_a_pattern_without_one_reading_is_refused(text):
    with pytest.raises(InvalidChannel, match="two variables stand side by side"):
        Pattern(text)


@pytest.mark.parametrize("text", ["<path:a><b>", "<a><path:b>"])
def test_a_path_beside_another_variable_is_refused(text):
    with pytest.raises(InvalidChannel, match="two variables stand side by side"):
        Pattern(text)


@pytest.mark.parametrize("text", ["<path:a>-<path:b>", "x:<path:a>:<b>:<path:c>"])
def test_two_paths_are_refused(text):
    with pytest.raises(InvalidChannel, match="two variables match any text, so it is unclear where the first one ends"):
        Pattern(text)


@pytest.mark.parametrize("text, converter", [("jobs:<int:id>", "int"), ("<a>:<uuid:b>", "uuid")])
def test_a_converter_that_is_not_known_is_refused(text, converter):
    with pytest.raises(InvalidChannel) as error:
        Pattern(text)
    assert str(error.value) == (
        "%r: the converter %r is not known; write <name> for a text without a colon, or <path:name> for any text, and "
        "convert it in your function" % (text, converter)
    )


@pytest.mark.parametrize(
    "pattern, channel, values",
    [
        ("f:<a>-<b>", "f:x-y-z", {"a": "x", "b": "y-z"}),
        ("f:<a>-<b>", "f:-y", None),
        ("f:<a>-<b>", "f:x-", None),
        ("f:<a>--<b>", "f:x---y", {"a": "x", "b": "-y"}),
        ("<file>.csv", "a.csv.csv", {"file": "a.csv"}),
        ("<a>-<b>.csv", "x-y-z.csv", {"a": "x", "b": "y-z"}),
        ("<a>-<b>", "x:y-z", None),
    ],
)
def test_a_variable_ends_at_the_first_separator_that_follows_it(pattern, channel, values):
    assert Pattern(pattern).match(channel) == values


@pytest.mark.parametrize(
    "pattern, channel, values",
    [
        ("page:<path:url>", "page:https://shop.test:8000/a?b=c#d", {"url": "https://shop.test:8000/a?b=c#d"}),
        ("<path:url>", "urn:isbn:0451450523", {"url": "urn:isbn:0451450523"}),
        ("<path:url>", "user:7", None),
        ("<path:url>", "*", None),
        ("<path:url>", "ssemux.control", None),
        ("page:<path:url>", "page:", None),
        ("<path:url>:comments", "https://shop.test:comments", {"url": "https://shop.test"}),
        ("<kind>:<path:url>", "page:urn:x", {"kind": "page", "url": "urn:x"}),
        ("<path:url>:<id>", "https://shop.test:7", {"url": "https://shop.test", "id": "7"}),
        ("<path:url>:<id>", "https://shop.test:", None),
        ("<path:url>-<a>-<b>", "x-y-1-2", {"url": "x-y", "a": "1", "b": "2"}),
        ("<kind>:<path:url>-<id>", "a:b:c-d-e", {"kind": "a", "url": "b:c-d", "id": "e"}),
        ("<path:url>-<id>", "a-b:c", None),
        ("<string:a>:<b>", "x:y", {"a": "x", "b": "y"}),
    ],
)
def test_a_path_matches_any_text(pattern, channel, values):
    assert Pattern(pattern).match(channel) == values


@pytest.mark.parametrize("values", [{"a": "x-y", "b": "z"}, {"a": "", "b": "z"}, {"a": "x", "b": "y:z"}])
def test_a_url_cannot_fill_in_what_would_be_read_as_another_channel(values):
    with pytest.raises(BadRequest):
        Pattern("f:<a>-<b>").fill(values)


@pytest.mark.parametrize("values", [{"a": "x", "b": "y-z"}, {"a": "", "b": "z"}, {"a": "x", "b": "y:z"}])
def test_a_url_cannot_fill_in_what_would_be_read_as_another_path(values):
    with pytest.raises(BadRequest):
        Pattern("<path:a>-<b>").fill(values)
    assert Pattern("<path:a>-<b>").fill({"a": "https://x-y", "b": "z"}) == "https://x-y-z"


# -- whole requests ------------------------------------------------------------


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """Its rules are those that a test gives to `mux._rules`; each of them allows everything."""
    made = flask.Flask("costs", instance_path=str(tmp_path_factory.mktemp("costs")))
    made.secret_key = "for tests"
    made.config.update(SSEMUX_BROKER="memory:", SSEMUX_MAX_STREAMS="1000")
    mux = flask_ssemux.init_app(made)
    mux.add_stream("/fixed/<path:a>/<b>", ["fixed:<a>-<b>"])
    made.mux = mux
    yield made
    testing.close(made)


def serve(app, path, query, last_id=""):
    """Ask once, as a server would, and leave."""
    with app.test_client() as client:
        headers = {"Last-Event-ID": last_id, "Referer": "http://x/?" + query}
        answer = client.get(path, query_string=query, headers=headers, buffered=False)
        if answer.status_code == 200:
            next(answer.iter_encoded())
        answer.close()
        return answer.status_code


def set_rules(app, texts):
    rules = app.mux._rules
    for kind, answer in ((rules.authorize, True), (rules.snapshot, ())):
        kind.clear()
        for text in dict.fromkeys(texts):
            rules.add_rule(kind, text)(lambda *_, answer=answer, **__: answer)
    rules.latest = list(map(Pattern, dict.fromkeys(texts)))
    rules.presence = PresenceRules()
    for text in dict.fromkeys(texts):
        rules.presence.add_rule(text, False, 10.0)


ATTACKS = [
    "channel=" + "room:" + "-" * 200 + ":",
    "&".join("channel=" + "-" * 70 + str(number) for number in range(100)),
    "&".join("channel=%d" % number for number in range(700)),
    "&" * QUERY,
    "a&" * (QUERY // 2),
    "channel=&" * 900,
    "channel=" + "%2d" * 2700,
    "ticket=" + "." * 8000,
    "&".join(["ticket=a.b"] * 700),
    "t%69cket=" + "-" * 8000 + ".",
    "ssemux_probe=" + "a." * 4000,
    "poll=" + "1" * 8000,
    "&".join(["lastEventId=abcd-1"] * 430),
    "lastEventId=" + "0" * 8000,
    "&".join(["new=a"] * 1300),
    "=" * QUERY,
    "%" * QUERY,
    "+;" * (QUERY // 2),
]


@pytest.mark.parametrize("query", ATTACKS, ids=lambda query: query[:20])
@pytest.mark.parametrize("path", ["/events", "/events/", "/fixed/a/b", "/fixed/%s/b" % ("-" * 4000)], ids=range(4))
def test_a_request_of_8_kb_costs_little(app, path, query):
    set_rules(app, ["room:<a>-<b>-<c>-<d>-<e>"] + ["<x%d>-<y>-<z>%d" % (number, number) for number in range(100)])
    assert cost(serve, app, path, query[:QUERY], "0" * 4000) < BOUND


@settings(max_examples=60, deadline=None)
@given(st.lists(patterns(), max_size=60), st.lists(st.text(LETTERS + "x", min_size=1, max_size=255), max_size=110))
def test_random_patterns_and_names(app, texts, names):
    set_rules(app, [text for text in texts if not text.startswith("user:")])
    query = "&".join("channel=" + quote(name) for name in names)[:QUERY]
    assert cost(serve, app, "/events", query) < BOUND


def test_the_maximum_of_channels_that_a_stream_may_name(app):
    """A hundred channels, all of them allowed by the last of many rules."""
    set_rules(app, ["%s<x>-<y>-%d" % ("a" * (number % 9), number) for number in range(300)] + ["<x>"])
    query = "&".join("channel=" + "a-" * 30 + "%d" % number for number in range(100))
    assert serve(app, "/events", query) == 200
    assert cost(serve, app, "/events", query) < BOUND
