"""What runs need of an application, or of a ``Publisher``: functions that are passed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, ContextManager, NamedTuple

from ..brokers import Broker, NewEvent
from ..sse.data import JSONWriter
from ..tracing.tracing import NO_TRACING, Tracing
from .task import MakeBody

if TYPE_CHECKING:
    from .run import Run


class RunEnvironment(NamedTuple):
    """
    :param get_publishing_broker: returns the broker, if this process may publish on it.
    :param make_body: returns the body of an event.
    :param get_json_writer: returns how the application writes JSON.
    :param make_context: returns the context in which generators run.
    :param make_url: returns the path of a run.
    :param make_response: answers the current request with a run.
    :param end_readers: offers a frame to the streams of a channel in this process.
    :param tracing: makes the spans of their events.
    """

    get_publishing_broker: Callable[[], Broker]
    make_body: MakeBody
    get_json_writer: Callable[[], JSONWriter]
    make_context: Callable[[], ContextManager[Any]]
    make_url: Callable[[str], str]
    make_response: Callable[[Run, bool], Any]
    end_readers: Callable[[str, bytes], None] = lambda channel, frame: None
    tracing: Tracing = NO_TRACING

    def make_event(self, channel: str, data: Any, name: str | None) -> NewEvent:
        """Return an event that a generator yielded."""
        return self.tracing.trace_creation(NewEvent(channel, self.make_body(channel, data, name)))
