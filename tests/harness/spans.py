"""OpenTelemetry's own SDK for the tests: a tracer provider that keeps its spans in memory."""

from __future__ import annotations

import importlib
import os

import pytest


def load(name):
    """Return a module of OpenTelemetry. Without it the test module that asks is skipped, and an error in CI."""
    return importlib.import_module(name) if os.environ.get("CI") == "true" else pytest.importorskip(name)


trace = load("opentelemetry.trace")
sdk = load("opentelemetry.sdk.trace")
export = load("opentelemetry.sdk.trace.export")
memory = load("opentelemetry.sdk.trace.export.in_memory_span_exporter")


class Spans:
    """What one tracer provider recorded."""

    def __init__(self, **options):
        self.provider = sdk.TracerProvider(shutdown_on_exit=False, **options)
        self._exporter = memory.InMemorySpanExporter()
        self.provider.add_span_processor(export.SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("tests")

    def list(self, operation=None):
        """Return the finished spans of an operation, or those of this package, in the order of their ends."""
        ours = [span for span in self._exporter.get_finished_spans() if "messaging.system" in span.attributes]
        return [span for span in ours if operation in (None, span.attributes["messaging.operation.name"])]


def get_ids(span):
    """Return the trace and the span of a finished span, or of a link, or of the parent of one."""
    context = getattr(span, "context", span)
    return context.trace_id, context.span_id
