"""Makes spans with OpenTelemetry's API. Only ``tracing.py`` imports this file, and only in a process that traces.

Names and attributes follow the semantic conventions for messaging spans
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/). An event's data is in no span, nor is the id
of a user or of a run. An error of OpenTelemetry is logged, and costs no event.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..brokers import NewEvent, Record
from ..sse import encode
from ..sse.trace_mark import add_traceparent, find_traceparent, remove_traceparent
from ..util.supervise import attempt, survive
from ..version import __version__

if TYPE_CHECKING:
    from .tracing import MakeContext

#: The name of the system in spans, and of the tracer.
SYSTEM = "flask_ssemux"

#: What stands for the channels whose names contain the id of a user or a run. A run's id may be all that protects it.
USER_TEMPLATE = encode.USER_PREFIX + "{user_id}"
RUN_TEMPLATE = encode.RUN_PREFIX + "{run_id}"

_propagator = TraceContextTextMapPropagator()


def make_spans(find_template: Callable[[str], str | None]) -> Spans | None:
    """Return what makes spans with the application's tracer provider; None if it has configured none."""
    provider: Any = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    return Spans(provider.get_tracer(SYSTEM, __version__), find_template)


class Spans:
    """Makes the spans of one application.

    :param find_template: returns the pattern of a channel, if the application has one.
    """

    def __init__(self, tracer: Any, find_template: Callable[[str], str | None]) -> None:
        self._tracer = tracer
        self._find_template = find_template

    # -- publish -----------------------------------------------------------

    def publish(
        self, events: Sequence[NewEvent], append: Callable[[Sequence[NewEvent]], Any], parent: Any = None
    ) -> Any:
        """Return what ``append`` returns for these events. It is called within a span, whose trace the events get.

        :param events: those of one call, one at least.
        :param append: returns the cursors of the events, or None.
        :param parent: what ``get_context`` returned where the application called; None: here.
        """
        span = self._begin("publish", "send", SpanKind.PRODUCER, events, parent)
        if span is None:
            return append(events)
        token = otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            cursors = append([_mark_event(event, span) for event in events])
            if cursors is not None and len(events) == 1:
                span.set_attribute("messaging.message.id", str(cursors[0]))
            return cursors
        except BaseException as error:
            _note_error(span, error)
            raise
        finally:
            otel_context.detach(token)
            _end(span)

    def create_event(self, event: NewEvent) -> NewEvent:
        """Return an event with the trace of a span of no duration: it is appended later, together with others."""
        span = self._begin("create", "create", SpanKind.PRODUCER, [event], None)
        if span is None:
            return event
        _end(span)
        return _mark_event(event, span)

    # -- fan-out -----------------------------------------------------------

    def begin_fan_out(self, record: Record, cursor: str, streams: int) -> Callable[[], None] | None:
        """Begin the span of a fan-out, as a child of the event's publish. Return the function that ends it.

        :param record: an event that has a trace.
        :param streams: how many streams get it.
        """
        parent = _propagator.extract({"traceparent": find_traceparent(record.body)}, otel_context.Context())
        published = trace.get_current_span(parent).get_span_context()
        more: Any = {"messaging.message.id": cursor, "messaging.flask_ssemux.stream_count": streams}
        event = NewEvent(record.channel, record.body)
        span = self._begin("fan_out", "process", SpanKind.CONSUMER, [event], parent, [Link(published)], more)
        return None if span is None else lambda: _end(span)

    # -- contexts ----------------------------------------------------------

    def get_context(self) -> Any:
        """Return the trace in which the caller is."""
        return otel_context.get_current()

    def carry_context(self, make_context: MakeContext) -> MakeContext:
        """Return a function whose context managers also continue the trace in which the caller is now."""
        span = trace.get_current_span()
        if not span.get_span_context().is_valid:
            return make_context

        @contextmanager
        def make() -> Iterator[None]:
            token = otel_context.attach(trace.set_span_in_context(span))
            try:
                with make_context():
                    yield
            finally:
                otel_context.detach(token)

        return make

    # ----------------------------------------------------------------------

    def _begin(
        self,
        name: str,
        kind_of_operation: str,
        kind: Any,
        events: Sequence[NewEvent],
        parent: Any,
        links: Sequence[Any] = (),
        more: Any = None,
    ) -> Any:
        """Return a new span, which is not the current one; None if OpenTelemetry fails.

        :param name: of the operation.
        :param more: attributes of this span alone.
        """
        try:
            attributes = {
                "messaging.system": SYSTEM,
                "messaging.operation.name": name,
                "messaging.operation.type": kind_of_operation,
                **self._describe_events(events),
                **(more or {}),
            }
            return self._tracer.start_span(_name_span(name, attributes), parent, kind, attributes, links)
        except Exception as error:
            survive("OpenTelemetry could not begin a span", error)
            return None

    def _describe_events(self, events: Sequence[NewEvent]) -> dict[str, Any]:
        """Return the attributes of one event, or of several that are published together."""
        channels = {event.channel for event in events}
        found = self._describe_channel(events[0].channel) if len(channels) == 1 else {}
        if len(events) == 1:
            found["messaging.message.body.size"] = len(remove_traceparent(events[0].body))
        else:
            found["messaging.batch.message_count"] = len(events)
        return found

    def _describe_channel(self, channel: str) -> dict[str, Any]:
        if channel.startswith(encode.USER_PREFIX):
            return {"messaging.destination.template": USER_TEMPLATE}
        if encode.is_run_channel(channel):
            return {"messaging.destination.template": RUN_TEMPLATE}
        template = self._find_template(channel)
        found = {} if template is None else {"messaging.destination.template": template}
        return {"messaging.destination.name": channel, **found}


def _name_span(operation: str, attributes: dict[str, Any]) -> str:
    """Return the operation, with a channel only if there are few of its kind: names of spans are grouped."""
    template = attributes.get("messaging.destination.template")
    is_everyone = attributes.get("messaging.destination.name") == encode.EVERYONE
    return "%s %s" % (operation, encode.EVERYONE if is_everyone else template) if template or is_everyone else operation


def _mark_event(event: NewEvent, span: Any) -> NewEvent:
    """Return the event with the trace of a span, if that is recorded: otherwise no fan-out is, either."""
    found = span.get_span_context()
    if not (found.is_valid and found.trace_flags.sampled):
        return event
    traceparent = "00-%032x-%016x-%02x" % (found.trace_id, found.span_id, found.trace_flags & 0xFF)
    return event._replace(body=add_traceparent(event.body, traceparent))


def _note_error(span: Any, error: BaseException) -> None:
    """Note the kind of an error. Its text is left out, because that of a database's error may quote the event."""
    kind = type(error)
    span.set_attribute("error.type", "%s.%s" % (kind.__module__, kind.__qualname__))
    span.set_status(Status(StatusCode.ERROR))


def _end(span: Any) -> None:
    attempt("OpenTelemetry could not end a span", span.end)
