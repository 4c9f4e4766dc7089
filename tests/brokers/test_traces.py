"""The trace of an event in each store: it is kept with the event, reaches the fan-out, and never a client."""

from __future__ import annotations

import time

import pytest

from flask_ssemux import Publisher
from flask_ssemux.hub.hub import Hub
from flask_ssemux.hub.resume import ResumePoint
from flask_ssemux.options import Options
from flask_ssemux.publishing.base import PublisherBase
from flask_ssemux.sse.cursor import Cursor
from flask_ssemux.sse.trace_mark import find_traceparent
from flask_ssemux.tracing.tracing import Tracing
from flask_ssemux.worker.timer import Timer
from tests.harness.packages import need_python
from tests.harness.spans import Spans, get_ids, trace
from tests.harness.waiting import until


@pytest.fixture
def spans(monkeypatch):
    made = Spans()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made.provider)
    return made


class Desk(PublisherBase):
    """Publishes on one broker."""

    max_event_bytes = 1000

    def __init__(self, broker):
        self._broker, self._tracing = broker, Tracing(True)

    def _get_broker(self):
        return self._broker


def read_stream(hub, enough, resume=None):
    """Open a stream of two channels; return what it sends, as soon as that is enough."""
    stream = hub.open_stream(["a", "b"], None, resume) if resume else hub.open_stream(["a", "b"], None)
    data = bytearray()

    def take():
        data.extend(stream.take_bytes(time.monotonic()))
        return data.count(b"\ndata: event ") >= enough

    return data, take


def test_each_store_keeps_the_trace_for_the_workers_and_from_clients(make, spans):
    serving, publishing = make(), make()
    hub = Hub(serving, Timer(20.0), Options(), lambda: time.sleep(0.001), Tracing(True))
    shared = serving if not serving.is_shared else publishing
    data, take = read_stream(hub, 4)
    desk = Desk(shared)
    first = desk.publish("a", "event 1")
    desk.publish("a", "event 2", latest=True)
    desk.publish_many([("a", "event 3"), ("b", "event 4")])
    until(take, 10, lambda: bytes(data))
    until(lambda: len(spans.list("fan_out")) == 4, 5, lambda: [span.name for span in spans.list()])
    publishes, fan_outs = spans.list("publish"), spans.list("fan_out")
    expected = [get_ids(publishes[number]) for number in (0, 1, 2, 2)]
    assert [get_ids(span.parent) for span in fan_outs] == expected
    assert b"traceparent" not in data

    missed, take = read_stream(hub, 3, ResumePoint(Cursor.parse(first), None))
    until(take, 10, lambda: bytes(missed))
    latest, take = read_stream(hub, 1)
    until(take, 10, lambda: bytes(latest))
    assert b"traceparent" not in missed and b"traceparent" not in latest
    assert len(spans.list("fan_out")) == 4
    kept = shared.history.read_events(["a", "b"], 0, 10**17, 10).records
    assert [b"\n: traceparent: 00-" in record.body for record in kept] == [True] * 4


def test_an_event_of_a_transaction_keeps_the_trace_of_the_call_that_wrote_it(postgres_url, spans, recorder):
    psycopg = need_python("psycopg[binary]", "psycopg")
    with Publisher(postgres_url) as publisher, psycopg.connect(postgres_url.partition("?")[0]) as connection:
        history = publisher._get_broker().history
        history.start_delivery(recorder.listener)
        history.subscribe_channels(["a"])
        with spans.tracer.start_as_current_span("request") as request:
            publisher.publish("a", "x", session=connection)
        connection.commit()
        (record,) = recorder.wait(1)
    (span,) = spans.list("publish")
    assert get_ids(span.parent) == get_ids(request.get_span_context())
    assert find_traceparent(record.body)[:-2] == "00-%032x-%016x-" % get_ids(span)
    assert "messaging.message.id" not in span.attributes
