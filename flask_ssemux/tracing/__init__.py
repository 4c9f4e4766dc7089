"""Spans of OpenTelemetry: one for each publish, and one for each fan-out in a worker, in the trace of its publish.

Only the package ``opentelemetry-api`` is used, and only if the application has imported it and configured a tracer
provider. Which events are published and who gets them is not known here. No I/O, no Flask and no gevent.
"""
