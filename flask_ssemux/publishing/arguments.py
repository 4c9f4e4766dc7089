"""Explains arguments that publishing functions do not have: those of other libraries, and misspelled ones.

Python's own message names the argument; this one also says what to write.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from typing import Any, Callable, Iterable, TypeVar

C = TypeVar("C", bound=type)

#: The methods whose arguments are explained.
METHODS = (
    "publish", "send_to_user", "broadcast", "publish_many",
    "publish_on_commit", "send_to_user_on_commit", "broadcast_on_commit", "publish_many_on_commit",
)  # fmt: skip

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


def explain_arguments(owner: C) -> C:
    """Let the publishing methods of a class raise a TypeError that says what to write, if they are called with an
    argument that they do not have."""
    for name in METHODS:
        setattr(owner, name, _explain_method(getattr(owner, name)))
    return owner


def _explain_method(method: Callable[..., Any]) -> Callable[..., Any]:
    names = list(inspect.signature(method).parameters)

    @functools.wraps(method)
    def explained(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except TypeError:
            faults = _list_faults(method.__name__, names, names[: len(args)], kwargs)
            if not faults:
                raise
        raise TypeError("; ".join(faults))

    return explained


def _list_faults(call: str, names: list[str], given: list[str], kwargs: dict[str, Any]) -> list[str]:
    """Return what is wrong with this call: all of it, as a call in the style of another library has several faults.

    :param given: the names of the arguments that were given by their position.
    """
    unknown, twice = [name for name in kwargs if name not in names], [name for name in given if name in kwargs]
    own = [name for name in names if name != "self"]
    faults = ["%s has no argument %s=: %s" % (call, name, explain_unknown(name, own)) for name in unknown]
    order = "its arguments are, in this order, " + ", ".join(own)
    return faults + ["%s got %s= twice: %s" % (call, name, order) for name in twice]


def explain_unknown(name: object, known: Iterable[str]) -> str:
    """Return what to write in place of an argument of this name."""
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[str(name)]
    if name == "channel":
        return "publish(channel, data) sends to a channel"
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return "did you mean %s=?" % near[0] if near else "it takes " + ", ".join(known)
