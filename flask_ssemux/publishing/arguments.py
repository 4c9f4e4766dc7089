"""Explains arguments that publishing functions do not have: those of other libraries, and misspelled ones.

Python's own message names the argument; this one also says what to write.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from typing import Any, Callable, Iterable, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_OTHER_NAMES = {
    "type": "the event's name is event=: publish(channel, data, event=...) is Flask-SSE's publish(data, type=..., "
    "channel=...), see docs/flask-sse.md",
    "name": "the event's name is event=",
    "event_type": "the event's name is event=",
    "id": "an event's id is its cursor, which publish returns; an id of your own belongs into the data",
    "retry": "SSEMUX_RETRY says how long clients wait before they reconnect, for all streams",
    "room": "Socket.IO's room is a channel: publish(channel, data)",
    "to": "Socket.IO's room is a channel: publish(channel, data)",
    "topic": "a topic is a channel: publish(channel, data)",
    "channels": "publish sends to one channel; publish_many([(channel, data), ...]) sends to several",
}


def explain_arguments(function: F) -> F:
    """Raise a TypeError that says what to write if the function is called with an argument that it does not have."""
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    known, is_method = frozenset(names), "self" in inspect.signature(function).parameters

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            given = names[: len(args) - is_method]
            if not known.issuperset(kwargs) or not kwargs.keys().isdisjoint(given):
                raise TypeError(_explain_call(function, names, given, kwargs))
        return function(*args, **kwargs)

    return checked  # type: ignore[return-value]


def _explain_call(function: Callable[..., Any], names: list[str], given: list[str], kwargs: dict[str, Any]) -> str:
    """Return what is wrong with this call: all of it, as a call in the style of another library has several faults."""
    call = function.__name__
    unknown, twice = [name for name in kwargs if name not in names], [name for name in given if name in kwargs]
    order = "its arguments are, in this order, " + ", ".join(names)
    faults = ["%s has no argument %s=: %s" % (call, name, explain_unknown(name, names)) for name in unknown]
    return "; ".join(faults + ["%s got %s= twice: %s" % (call, name, order) for name in twice])


def explain_unknown(name: object, known: Iterable[str]) -> str:
    """Return what to write in place of an argument of this name."""
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[str(name)]
    if name == "channel":
        return "publish(channel, data) sends to a channel"
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return "did you mean %s=?" % near[0] if near else "it takes " + ", ".join(known)
