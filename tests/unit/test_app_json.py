"""Data becomes JSON as the application's own provider writes it: the same as ``jsonify``, in its shortest form."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import uuid

import flask
import pytest
from markupsafe import Markup

import flask_ssemux
from flask_ssemux import Publisher
from flask_ssemux.brokers import open_broker
from flask_ssemux.errors import InvalidEvent
from flask_ssemux.testing import stream

HAS_PROVIDERS = hasattr(flask.Flask, "json_provider_class")
needs_providers = pytest.mark.skipif(not HAS_PROVIDERS, reason="Flask before 2.2 has no JSON providers")


@dataclasses.dataclass
class Job:
    name: str
    due: object


class Price:
    def __html__(self):
        return "<b>7 €</b>"


class Level(str, enum.Enum):
    HIGH = "high"


MOMENT = datetime.datetime(2026, 3, 1, 12, 30, tzinfo=datetime.timezone.utc)

VALUES = [
    MOMENT, MOMENT.date(), decimal.Decimal("7.10"), uuid.UUID(int=7), Job("export", MOMENT), Price(),
    [Markup("<b>x</b>")], {"level": Level.HIGH}, {"b": 1, "a": {"d": "größe 日本", "c": [1.5, None]}}, [], 7, None,
]  # fmt: skip


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.authorize("jobs")(lambda user_id: True)
    return made


@pytest.fixture
def app(make_app, mux):
    return make_app(mux)


def write_as_jsonify(app, value):
    with app.test_request_context():
        return flask.jsonify(value).get_data(as_text=True).rstrip("\n")


def refusal(call, *args, **options):
    with pytest.raises(InvalidEvent) as caught:
        call(*args, **options)
    return str(caught.value)


# -- what is published -------------------------------------------------------


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_jsonify_takes_is_published_as_jsonify_writes_it(app, value):
    try:
        wanted = write_as_jsonify(app, value)
    except TypeError:  # Flask before 2.0.2 takes no Decimal
        with app.app_context():
            assert "(Object of type Decimal is not JSON serializable)" in refusal(flask_ssemux.publish, "jobs", value)
        return
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish("jobs", value, "new")
        assert events.expect("new", value).data == wanted


def test_the_same_wherever_data_is_accepted(app, mux):
    value, text = {"at": MOMENT}, '{"at":"Sun, 01 Mar 2026 12:30:00 GMT"}'
    mux.snapshot("jobs")(lambda: [("snapshot", value)])
    with app.app_context():
        flask_ssemux.publish("jobs", value, "latest", latest=True)
    with stream(app, channels=["jobs"], user=7) as events, app.app_context():
        flask_ssemux.publish("jobs", value, "ordinary")
        flask_ssemux.send_to_user(7, value, "personal")
        flask_ssemux.broadcast(value, "everyone")
        flask_ssemux.publish_many([("jobs", value, "several"), {"user_id": 7, "data": value, "event": "several"}])
        names = ["snapshot", "latest", "ordinary", "personal", "everyone", "several", "several"]
        assert [(event.event, event.data) for event in events.rest()] == [(name, text) for name in names]


@pytest.mark.parametrize("value", ["plain", '{"a": 1}', "", Markup("<b>x</b>"), Level.HIGH])
def test_text_is_sent_as_it_is(app, value):
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish("jobs", value)
        assert events.next().data == str.__str__(value)


@pytest.mark.parametrize("broker", ["memory:", "sqlite:", "redis"])
def test_names_from_an_enumeration_are_the_texts_in_it(make_app, request, broker):
    class Name(str, enum.Enum):
        CHANNEL = "jobs"
        EVENT = "progress"

    url = request.getfixturevalue("redis_url") if broker == "redis" else broker
    mux = flask_ssemux.SSEMux()
    mux.authorize("jobs")(lambda user_id: True)
    app = make_app(mux, SSEMUX_BROKER=url)
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish(Name.CHANNEL, "1", Name.EVENT, latest=True)
        assert events.next()[:2] == ("progress", "1")
        flask_ssemux.publish("jobs", "2", "progress", latest=True)
        assert events.next()[:2] == ("progress", "2")
    with stream(app, channels=["jobs"]) as events:  # one key: the second has replaced the first
        assert [event.data for event in events.rest()] == ["2"]


def test_keys_that_cannot_be_sorted_are_taken_as_before(app):
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish("jobs", {2: "ä", "one": 1})
        assert events.next().data == '{"2":"ä","one":1}'


# -- the application's own provider --------------------------------------------


def take_fractions(value):
    if isinstance(value, fractions.Fraction):
        return "%d/%d" % (value.numerator, value.denominator)
    raise TypeError("this application's JSON has no %s" % type(value).__name__)


def set_own_types(app, default=take_fractions):
    if HAS_PROVIDERS:
        app.json.default = default
    else:
        app.json_encoder = type("Encoder", (flask.json.JSONEncoder,), {"default": lambda self, value: default(value)})


def test_own_types_and_settings_that_are_set_late(app):
    set_own_types(app)
    if HAS_PROVIDERS:
        app.json.sort_keys = app.json.ensure_ascii = False
    else:
        app.config.update(JSON_SORT_KEYS=False, JSON_AS_ASCII=False)
    value = {"ö": fractions.Fraction(1, 3), "a": [1]}
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish("jobs", value)
        assert events.next().data == '{"ö":"1/3","a":[1]}' == write_as_jsonify(app, value)


def test_indents_of_jsonify_are_left_out(app):
    app.debug = True
    app.config["JSONIFY_PRETTYPRINT_REGULAR"] = True
    if HAS_PROVIDERS:
        app.json.compact = False
    assert "\n" in write_as_jsonify(app, {"a": [1, 2]})
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish("jobs", {"a": [1, 2]})
        assert events.next().data == '{"a":[1,2]}'


@needs_providers
@pytest.mark.parametrize("encoding", [None, "utf-8"])
def test_a_provider_that_is_not_derived_from_flasks(app, encoding):
    from flask.json.provider import JSONProvider

    class Provider(JSONProvider):
        """It takes no arguments of ``json.dumps``. orjson returns bytes, which a response takes too."""

        def dumps(self, obj, **kwargs):
            assert not kwargs
            text = json.dumps({"wrapped": str(obj)})
            return text if encoding is None else text.encode(encoding)

        def loads(self, s, **kwargs):
            return json.loads(s, **kwargs)

    app.json = Provider(app)
    with stream(app, channels=["jobs"]) as events, app.app_context():
        flask_ssemux.publish("jobs", {"a": fractions.Fraction(1, 3)})
        assert events.next().data == '{"wrapped": "{\'a\': Fraction(1, 3)}"}'


@needs_providers
def test_what_is_the_extensions_own_does_not_depend_on_the_provider(app, mux):
    """Refusals, the status and its stream are read by the extension's client and page."""
    from flask.json.provider import DefaultJSONProvider

    class Shouting(DefaultJSONProvider):
        def dumps(self, obj, **kwargs):
            return super().dumps(obj, **kwargs).upper()

    mux.allow_status(lambda: True)
    app.json = Shouting(app)
    status = json.loads(app.test_client().get("/events/status.json").data)
    assert status["heartbeat"] == 20.0 and status["totals"]["streams"] == 0
    refused = json.loads(app.test_client().get("/events?channel=other").data)
    assert refused["error"] == "forbidden" and refused["channel"] == "other"
    with stream(app, "/events/status/stream") as events:
        assert events.hello.json == {"heartbeat": 20.0, "timeout": 120.0}


# -- errors ------------------------------------------------------------------


def test_an_error_names_the_part_of_the_data_and_who_could_take_it(app):
    value = {"jobs": [{"name": "a"}, {"name": "b", "steps": ({"at": MOMENT, "color": 1 + 2j},)}]}
    advice = "app.json" if HAS_PROVIDERS else "app.json_encoder"
    with app.app_context():
        assert refusal(flask_ssemux.publish, "jobs", value) == (
            "data must be text or what JSON can express; data['jobs'][1]['steps'][0]['color'] is (1+2j) of type "
            "complex (Object of type complex is not JSON serializable); convert it before you publish, or let the "
            "application's JSON provider, %s, take it" % advice
        )
        assert "; data.due[1] is {1} of type set (" in refusal(flask_ssemux.publish, "jobs", Job("x", [0, {1}]))
        assert "; data['a'] is {(1, 2): 3} of type dict (" in refusal(flask_ssemux.publish, "jobs", {"a": {(1, 2): 3}})
        assert "; data[1] is {'x'} of type set (" in refusal(flask_ssemux.publish_many, [("jobs", [1, {"x"}])])


def test_an_error_of_a_provider_is_shown(app):
    set_own_types(app)
    with app.app_context():
        assert "; data[0] is 1j of type complex (this application's JSON has no complex); " in refusal(
            flask_ssemux.publish, "jobs", [1j]
        )


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_that_browsers_cannot_parse_are_refused(app, number):
    name = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[number]
    with app.app_context():
        assert refusal(flask_ssemux.publish, "jobs", {"mean": float(number)}) == (
            "data must be text or what JSON can express; data['mean'] is %s of type float (JSON has no %s, and "
            "JSON.parse refuses it); send None or a text in its place" % (number, name)
        )
        flask_ssemux.publish("jobs", ["NaN", "-Infinity"])


def test_an_error_in_the_applications_own_code_is_raised_as_it_is(app):
    class Broken:
        def __html__(self):
            raise KeyError("template")

    with app.app_context(), pytest.raises(KeyError, match="template"):
        flask_ssemux.publish("jobs", [Broken()])


def test_finding_the_part_takes_time_in_proportion_to_the_data(app):
    """Each part is written about twice; one after the other would be a thousand times as much."""
    written = []

    def take_numbers(value):
        written.append(value)
        if isinstance(value, complex) and value.imag:
            raise TypeError("no")
        return 0

    set_own_types(app, take_numbers)
    values = [[complex(row, 0) for row in range(100)] for _ in range(10)]
    values[7][99] = 1j
    with app.app_context():
        assert "; data[7][99] is 1j of" in refusal(flask_ssemux.publish, "jobs", values)
    assert len(written) < 5 * 1000


# -- Publisher ---------------------------------------------------------------


@pytest.fixture
def url(tmp_path):
    return "sqlite:///%s" % (tmp_path / "events.sqlite3")


def list_bodies(url):
    broker = open_broker(url)
    try:
        return [record.body for record in broker.history.read_events(["*"], 0, 10**17, 100).records]
    finally:
        broker.close()


def write_any(value):
    return json.dumps(value, default=str)


@pytest.mark.parametrize("dumps", [write_any, lambda value: write_any(value).encode()], ids=["text", "bytes"])
def test_a_publisher_takes_a_function_that_writes_json(url, dumps):
    with Publisher(url, dumps=dumps) as publisher:
        publisher.broadcast({"at": decimal.Decimal("1.5"), "n": 1})
        publisher.broadcast("text")
        publisher.publish_many([("*", [uuid.UUID(int=1)])])
    assert list_bodies(url) == [
        b'data: {"at": "1.5", "n": 1}\n\n', b"data: text\n\n",
        b'data: ["00000000-0000-0000-0000-000000000001"]\n\n',
    ]  # fmt: skip


def test_a_publisher_without_such_a_function_writes_json_as_before(url):
    with Publisher(url) as publisher:
        publisher.broadcast({"b": "ä", "a": [1, None]})
        assert refusal(publisher.broadcast, {"at": MOMENT}) == (
            "data must be text or what JSON can express; data['at'] is %r of type datetime (Object of type datetime is "
            "not JSON serializable); convert it before you publish, or pass a function that takes it as "
            "Publisher(dumps=...)" % MOMENT
        )
    assert list_bodies(url) == ['data: {"b":"ä","a":[1,null]}\n\n'.encode()]


def test_a_function_that_does_not_write_text(url):
    with Publisher(url, dumps=lambda value: value) as publisher:
        assert "the function that writes JSON returned a set" in refusal(publisher.broadcast, {1})
        assert list_bodies(url) == []


def test_a_function_that_returns_no_text_is_named_though_python_could_write_the_data(tmp_path):
    with Publisher("sqlite:///%s" % (tmp_path / "events"), dumps=lambda data: None) as publisher:
        assert "the function that writes JSON returned a NoneType: " in refusal(publisher.broadcast, {"done": 1})
