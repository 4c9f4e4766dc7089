"""The plain application with OpenTelemetry: each process writes its spans to the file SPANS, a JSON text a line.

Also a program without Flask: `python -m tests.apps.traced CHANNEL TEXT` publishes one event within a span, and prints
the event's cursor.
"""

from __future__ import annotations

import os
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from flask_ssemux import Publisher
from tests.apps import plain


def configure_tracing():
    """Set the tracer provider, as an application does in its own code."""
    out = open(os.environ["SPANS"], "a", encoding="utf-8")  # noqa: SIM115  (for as long as the process)
    exporter = ConsoleSpanExporter(out=out, formatter=lambda span: span.to_json(indent=None) + "\n")
    resource = Resource({"process.pid": os.getpid()})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def create_app():
    """Make the application; each of its responses, also of a stream, names the worker."""
    configure_tracing()
    app = plain.create_app()

    @app.after_request
    def name_worker(response):
        response.headers["X-Pid"] = os.getpid()
        return response

    return app


def publish(channel, text):
    configure_tracing()
    with Publisher() as publisher, trace.get_tracer("job").start_as_current_span("job"):
        print(publisher.publish(channel, text))


if __name__ == "__main__":
    publish(*sys.argv[1:])
