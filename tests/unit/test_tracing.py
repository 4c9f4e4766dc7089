"""Spans of publish and fan-out, with OpenTelemetry's own SDK: what carries a trace, and what no span has."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import uuid

import pytest

import flask_ssemux
from flask_ssemux import testing
from flask_ssemux.errors import BrokerUnavailable
from flask_ssemux.hub.fanout import SLICE, FanOut
from flask_ssemux.hub.limits import StreamLimits
from flask_ssemux.sse import encode, trace_mark
from flask_ssemux.tracing.tracing import Tracing
from tests.harness import document
from tests.harness.servers import ROOT
from tests.harness.spans import Spans, get_ids, sdk, trace
from tests.harness.waiting import until

SECRET = "the patient's diagnosis"


@pytest.fixture
def spans(monkeypatch):
    """The spans of the application's tracer provider. Only one can be set for a process, so none is."""
    made = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    return made


@pytest.fixture
def mux():
    made = flask_ssemux.SSEMux()
    made.identify(lambda: "alice")
    for pattern in ("jobs:<job_id>", "news", "ticks"):
        made.authorize(pattern)(lambda user, **values: True)
    return made


def wait_for(spans, operation, count):
    until(lambda: len(spans.list(operation)) >= count, 5, lambda: [span.name for span in spans.list()])
    return spans.list(operation)


# -- from publish to fan-out ---------------------------------------------------


def test_a_fan_out_is_in_the_trace_of_its_publish_and_clients_see_nothing_of_it(make_app, mux, spans):
    app = make_app(mux)
    with testing.stream(app, channels=["jobs:42"]) as first, testing.stream(app, channels=["jobs:42"]):
        with spans.tracer.start_as_current_span("request") as request:
            cursor = mux.publish("jobs:42", {"secret": SECRET}, event="done")
        event = first.expect("done", {"secret": SECRET})
        (publish,), (fan_out,) = wait_for(spans, "publish", 1), wait_for(spans, "fan_out", 1)
    assert get_ids(publish.parent) == get_ids(request.get_span_context())
    assert get_ids(fan_out.parent) == get_ids(publish) == get_ids(fan_out.links[0])
    assert (publish.kind, fan_out.kind) == (trace.SpanKind.PRODUCER, trace.SpanKind.CONSUMER)
    assert publish.start_time <= fan_out.start_time <= fan_out.end_time
    size = len(encode.make_body("jobs:42", {"secret": SECRET}, "done"))
    both = {
        "messaging.system": "flask_ssemux", "messaging.destination.name": "jobs:42", "messaging.message.id": cursor,
        "messaging.destination.template": "jobs:<job_id>", "messaging.message.body.size": size,
    }  # fmt: skip
    assert (publish.name, fan_out.name) == ("publish jobs:<job_id>", "fan_out jobs:<job_id>")
    assert publish.attributes == {
        **both, "messaging.operation.name": "publish", "messaging.operation.type": "send"
    }  # fmt: skip
    assert fan_out.attributes == {
        **both, "messaging.operation.name": "fan_out", "messaging.operation.type": "process",
        "messaging.flask_ssemux.stream_count": 2,
    }  # fmt: skip
    assert event.id == cursor and "traceparent" not in "".join(first.comments)


def test_a_replay_and_the_latest_event_have_no_spans_and_no_trace_on_the_wire(make_app, mux, spans):
    app = make_app(mux)
    before = mux.publish("news", "before")
    mux.publish("news", "state", latest=True)
    mux.publish("news", "mood", "other", latest=True)
    mux.publish("news", "missed")
    with testing.stream(app, channels=["news"], last_event_id=before) as back:
        assert [back.next().data for _ in range(3)] == ["state", "mood", "missed"]
        assert back.comments and "traceparent" not in "".join(back.comments)
    with testing.stream(app, channels=["news"]) as new:
        assert [new.next().data for _ in range(2)] == ["state", "mood"]
        assert "traceparent" not in "".join(new.comments)
    assert len(spans.list("publish")) == 4 and spans.list("fan_out") == []


@pytest.mark.parametrize(
    "publish, names, templates",
    [
        (lambda mux: mux.send_to_user("alice", SECRET), [None], ["user:{user_id}"]),
        (lambda mux: mux.broadcast(SECRET), ["*"], [None]),
        (lambda mux: mux.publish("news", SECRET), ["news"], ["news"]),
        (lambda mux: mux.publish_many([("jobs:1", SECRET), ("news", SECRET)]), ["jobs:1", "news"], None),
    ],
)  # fmt: skip
def test_no_span_names_a_user_or_has_data(make_app, mux, spans, publish, names, templates):
    app = make_app(mux)
    with app.app_context(), testing.stream(app, channels=["jobs:1", "news"]):
        publish(mux)
        fan_outs = wait_for(spans, "fan_out", len(names))
    (published,) = spans.list("publish")
    assert [span.attributes.get("messaging.destination.name") for span in fan_outs] == names
    assert {get_ids(span.parent) for span in fan_outs} == {get_ids(published)}
    if templates is None:
        assert published.attributes["messaging.batch.message_count"] == 2
        assert not {"messaging.destination.name", "messaging.message.id"} & set(published.attributes)
    else:
        assert [span.attributes.get("messaging.destination.template") for span in fan_outs] == templates
    text = "".join(span.to_json() for span in spans.list())
    assert "alice" not in text and SECRET not in text


def test_an_event_that_waits_for_a_commit_belongs_to_the_trace_that_published_it(make_app, mux, spans):
    orm = pytest.importorskip("sqlalchemy.orm")
    engine = pytest.importorskip("sqlalchemy").create_engine("sqlite://")
    app = make_app(mux)
    with app.app_context(), orm.Session(engine) as session:
        with spans.tracer.start_as_current_span("request") as request:
            mux.publish_on_commit(session, "news", "one")
            mux.publish_many_on_commit(session, [("news", "two"), ("news", "three")])
        session.commit()
    assert [get_ids(span.parent) for span in spans.list("publish")] == [get_ids(request.get_span_context())] * 2
    engine.dispose()


# -- generators ------------------------------------------------------------------


def test_a_run_goes_on_in_the_trace_that_started_it(make_app, mux, spans):
    app = make_app(mux)

    def answer():
        with spans.tracer.start_as_current_span("model"):
            yield "token", SECRET

    with app.test_request_context(), spans.tracer.start_as_current_span("request") as request:
        run = mux.start_run(answer())
    assert run.wait(5) == "done"
    with testing.stream(app, run.url) as reader:
        assert reader.expect("token", SECRET).id and "traceparent" not in "".join(reader.comments)
    (create,) = spans.list("create")
    model = next(span for span in spans._exporter.get_finished_spans() if span.name == "model")
    assert get_ids(create.parent) == get_ids(model)
    assert get_ids(model.parent) == get_ids(request.get_span_context())
    assert (create.name, create.kind) == ("create run:{run_id}", trace.SpanKind.PRODUCER)
    assert run.id not in "".join(span.to_json() for span in spans.list())


def test_a_feed_does_not_belong_to_the_request_of_its_first_reader(make_app, mux, spans):
    go_on = threading.Event()

    @mux.feed("ticks")
    def ticks():
        yield "tick", 1
        while not go_on.wait(0.01):
            yield None

    app = make_app(mux)
    with spans.tracer.start_as_current_span("request"), testing.stream(app, channels=["ticks"]) as reader:
        assert reader.expect("tick", 1).channel == "ticks"
        (create,), (fan_out,) = wait_for(spans, "create", 1), wait_for(spans, "fan_out", 1)
        go_on.set()
    assert create.parent is None
    assert get_ids(fan_out.parent) == get_ids(create)


# -- off ---------------------------------------------------------------------------


def list_stored(mux, app):
    with app.app_context():
        history = app.extensions["ssemux"].worker.broker.history
        return [record.body for record in history.read_events(["news"], 0, 10**9, 10).records]


def test_an_option_turns_it_off(make_app, mux, spans):
    app = make_app(mux, SSEMUX_TRACING="off")
    with testing.stream(app, channels=["news"]) as reader:
        mux.publish("news", "x")
        assert reader.next().data == "x"
    assert list_stored(mux, app) == [encode.make_body("news", "x")] and spans.list() == []


def test_without_a_tracer_provider_nothing_is_added(make_app, mux):
    app = make_app(mux)
    with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(1, 2, False, trace.TraceFlags(1)))):
        mux.publish("news", "x")
    assert list_stored(mux, app) == [encode.make_body("news", "x")]
    assert Tracing(True).find_spans() is None


def test_a_tracer_provider_may_be_configured_after_the_first_event(make_app, mux, monkeypatch):
    app = make_app(mux)
    mux.publish("news", "x")
    spans = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
    until(lambda: mux.publish("news", "y") and spans.list("publish"), 5, "the provider is found")
    assert not trace_mark.has_traceparent(list_stored(mux, app)[0])


def test_an_opentelemetry_that_is_too_old_costs_no_event(make_app, mux, monkeypatch, caplog):
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: object())
    app = make_app(mux)
    mux.publish("news", "x")
    mux.publish("news", "y")
    assert len(list_stored(mux, app)) == 2
    assert ["cannot be used" in line.getMessage() for line in caplog.records] == [True]


def test_a_publish_that_is_not_sampled_leaves_no_trace_in_the_store(make_app, mux, monkeypatch):
    spans = Spans(sampler=pytest.importorskip("opentelemetry.sdk.trace.sampling").ALWAYS_OFF)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: spans.provider)
    app = make_app(mux)
    mux.publish("news", "x")
    assert list_stored(mux, app) == [encode.make_body("news", "x")]


# -- what goes wrong -----------------------------------------------------------------


def test_an_event_that_the_store_refuses_ends_its_span_with_the_kind_of_the_error(make_app, mux, spans, monkeypatch):
    app = make_app(mux)
    with app.app_context():

        def refuse(*_):
            raise BrokerUnavailable("the store of %s" % SECRET)

        monkeypatch.setattr(app.extensions["ssemux"].worker.broker.history, "append_event", refuse)
        with pytest.raises(BrokerUnavailable):
            mux.publish("news", "x")
    (span,) = spans.list("publish")
    assert span.attributes["error.type"] == "flask_ssemux.errors.BrokerUnavailable"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert SECRET not in span.to_json()


class Broken(sdk.SpanProcessor):
    """A processor of the application's that fails."""

    def __init__(self, method):
        setattr(self, method, self._fail)

    def _fail(self, *args, **options):
        raise RuntimeError("the exporter is broken")


@pytest.mark.parametrize("method", ["on_start", "on_end"])
def test_an_error_of_opentelemetry_costs_no_event(make_app, mux, spans, method, caplog):
    spans.provider.add_span_processor(Broken(method))
    app = make_app(mux)
    with testing.stream(app, channels=["news"]) as reader:
        assert mux.publish("news", "x")
        assert reader.next().data == "x"
    assert "RuntimeError('the exporter is broken')" in caplog.text


def test_a_fan_out_to_many_streams_ends_with_its_last_slice(spans):
    ended, fan_out = [], FanOut(StreamLimits(1000, 10**6, 20.0, b"", lambda stream: None), lambda: None)

    class Taker:
        channels = ("many",)
        count = 0

        def offer(self, frame, sequence):
            Taker.count += 1

    fan_out.send_event([Taker() for _ in range(2 * SLICE)], b"x", "many", 1, lambda: ended.append(Taker.count))
    until(lambda: ended, 5, "the fan-out has ended")
    assert ended == [2 * SLICE]


# -- the mark in the stored body -------------------------------------------------------

TRACEPARENT = "00-%032x-%016x-01" % (uuid.UUID("0af7651916cd43dd8448eb211c80319c").int, 0xB7AD6B7169203331)


@pytest.mark.parametrize("data", ["", "x", "two\nlines", {"a": [1, 2]}, "é\u2028", "x" * 5000])
@pytest.mark.parametrize("event", [None, "done"])
def test_a_mark_is_found_and_leaves_no_trace(data, event):
    body = encode.make_body("news", data, event)
    marked = trace_mark.add_traceparent(body, TRACEPARENT)
    assert not trace_mark.has_traceparent(body) and trace_mark.has_traceparent(marked)
    assert trace_mark.find_traceparent(marked) == TRACEPARENT
    assert trace_mark.remove_traceparent(marked) == trace_mark.remove_traceparent(body) == body
    assert encode.make_frame(marked, "e-1") == encode.make_frame(body, "e-1")


@pytest.mark.parametrize("end", ["", "\n", "\r", "\r\n"])
def test_data_cannot_forge_a_mark(end):
    text = "x%s: traceparent: %s%s" % (end, TRACEPARENT, end)
    for data in (text, [text], json.dumps(text)):
        assert not trace_mark.has_traceparent(encode.make_body("news", data))


def test_an_earlier_version_sends_the_mark_as_a_comment_of_the_event():
    marked = trace_mark.add_traceparent(encode.make_body("news", "x", "done"), TRACEPARENT)
    assert marked == b"event: done\nchannel: news\ndata: x\n: traceparent: %s\n\n" % TRACEPARENT.encode()


# -- docs/tracing.md ---------------------------------------------------------------------

PROGRAM = """
%s
import flask, flask_ssemux
app = flask.Flask("shop")
app.config["SSEMUX_BROKER"] = "memory:"
flask_ssemux.SSEMux(app)
with app.app_context():
    flask_ssemux.broadcast("x")
provider.shutdown()
"""


def test_the_page_configures_a_tracer_provider_that_gets_the_spans():
    extra = document.command("tracing.md", "pip install").split('"')[1]
    assert "%s =\n    opentelemetry-api>=" % extra[len("flask_ssemux[") : -1] in (ROOT / "setup.cfg").read_text()
    program = PROGRAM % document.block("tracing.md", "python")
    printed = subprocess.check_output([sys.executable, "-c", program], cwd=ROOT, text=True, timeout=30)
    assert json.loads(printed)["name"] == "publish *"
