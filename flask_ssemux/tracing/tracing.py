"""Finds out whether there is anybody to trace for. It costs next to nothing if there is not.

``spans.py`` makes the spans. It is imported with the first of them, because only it needs OpenTelemetry.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Callable, ContextManager

from ..brokers import NewEvent
from ..util.supervise import survive

if TYPE_CHECKING:
    from .spans import Spans

#: Seconds from one look for a tracer provider to the next, if OpenTelemetry is imported and none is configured yet. A
#: look takes a microsecond, since OpenTelemetry reads the environment.
LOOK_SECONDS = 0.1

#: Returns a context manager.
MakeContext = Callable[[], ContextManager[Any]]


def _find_no_template(channel: str) -> str | None:
    return None


class Tracing:
    """The tracing of one application, or of a ``Publisher``.

    :param is_on: whether there may be spans.
    :param find_template: returns the pattern of a channel, such as ``jobs:<job_id>``, if the application has one.
    """

    def __init__(self, is_on: bool, find_template: Callable[[str], str | None] = _find_no_template) -> None:
        self._is_on = is_on
        self._find_template = find_template
        #: What makes spans, once a tracer provider was found. It can be configured only once.
        self._spans: Spans | None = None
        #: When (monotonic time) the next look for it is due.
        self._look_at = 0.0

    def find_spans(self) -> Spans | None:
        """Return what makes spans; None if tracing is off, or if the application has configured no tracer provider.

        Nobody has configured one without importing OpenTelemetry. Some applications do it late: in each worker, after
        the fork. So this is asked for each event.
        """
        if self._spans is None and self._is_on and "opentelemetry.trace" in sys.modules:
            self._look_for_provider()
        return self._spans

    def _look_for_provider(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        try:
            from .spans import make_spans

            self._spans = make_spans(self._find_template)
        except Exception as error:
            self._is_on = False
            survive("OpenTelemetry cannot be used, so there are no spans (it needs flask_ssemux[otel])", error)

    # -- what generators publish -------------------------------------------

    def trace_creation(self, event: NewEvent) -> NewEvent:
        """Return an event that a generator yielded, with the trace of a span for its creation."""
        spans = self.find_spans()
        return event if spans is None else spans.create_event(event)

    def capture_context(self) -> Any:
        """Return the trace in which the caller is, for a span that begins later; None without tracing."""
        spans = self.find_spans()
        return None if spans is None else spans.get_context()

    def carry_context(self, make_context: MakeContext) -> MakeContext:
        """Return a function whose context managers also continue the trace in which the caller is."""
        spans = self.find_spans()
        return make_context if spans is None else spans.carry_context(make_context)


#: Traces nothing.
NO_TRACING = Tracing(False)
