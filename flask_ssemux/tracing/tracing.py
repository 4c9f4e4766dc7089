"""Finds out whether there is anybody to trace for. It costs next to nothing if there is not.

``spans.py`` makes the spans. It is imported with the first of them, because only it needs OpenTelemetry.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, ContextManager

from ..brokers import NewEvent

if TYPE_CHECKING:
    from .spans import Spans

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
        #: The tracer provider that was seen last, and what makes spans with it; None if it makes none.
        self._provider: Any = None
        self._spans: Spans | None = None

    def find_spans(self) -> Spans | None:
        """Return what makes spans; None if tracing is off, or if the application has configured no tracer provider.

        Nobody has configured one without importing OpenTelemetry. Some applications do it late: in each worker, after
        the fork. So this is asked for each event.
        """
        api = sys.modules.get("opentelemetry.trace") if self._is_on else None
        if api is None:
            return None
        try:
            provider = api.get_tracer_provider()
        except AttributeError:  # another thread is importing it at this moment
            return None
        if provider is not self._provider:
            self._note_provider(provider)
        return self._spans

    def _note_provider(self, provider: Any) -> None:
        from .spans import make_spans

        self._spans = make_spans(provider, self._find_template)
        self._provider = provider

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
