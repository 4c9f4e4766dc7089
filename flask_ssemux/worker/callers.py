"""Who called the application: looks at our callers' frames, where servers' own objects are. Nothing is changed."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any, Callable, Mapping

from ..hub.test_request import KEY as VISIT

#: What only servers put into the environment; and what only tests do.
SERVERS_SAY = frozenset({"SERVER_SOFTWARE", "uwsgi.version"})
TESTS_SAY = frozenset({"paste.testing", VISIT})


def is_by_hand(environ: Mapping[str, Any]) -> bool:
    """Whether no server made this request, but a test, or a program that calls the application as a function.

    Not every server says its name, or who its client is (PEP 3333 asks for neither). Nor do tests; Werkzeug's client is
    found among our callers. (Adapters to servers may use that module's functions, but not its client.)
    """
    if not SERVERS_SAY.isdisjoint(environ):
        return False
    if _is_built(environ) or not TESTS_SAY.isdisjoint(environ):
        return True
    return is_tested()


def _is_built(environ: Mapping[str, Any]) -> bool:
    """Whether Werkzeug's ``EnvironBuilder`` made it: ``RAW_URI`` is gunicorn's, which says its name and its client."""
    return "RAW_URI" in environ and "REMOTE_ADDR" not in environ


def is_tested() -> bool:
    """Whether a client for tests is among our callers, whatever it says."""
    return is_called_from("werkzeug.test", "self") or is_called_from("httpx._transports.wsgi", "self")


def caller(module: str, attribute: str) -> Any:
    """The nearest object among our callers that comes from this module and has this attribute; or None."""
    frame = find_frame(lambda one: _is_self(one, module, attribute))
    return None if frame is None else frame.f_locals["self"]


def find_in_main_thread(module: str, attribute: str) -> Any:
    """The same, of the main thread's callers: what started the server; or None."""
    start = sys._current_frames().get(threading.main_thread().ident or 0)
    frame = start and find_frame(lambda one: _is_self(one, module, attribute), start)
    return frame.f_locals["self"] if frame is not None else None


def is_called_from(module: str, variable: str) -> bool:
    """Whether a function of this module that has this variable is among our callers."""
    return find_frame(lambda one: one.f_globals.get("__name__") == module and variable in one.f_locals) is not None


def outermost(variable: str) -> Any:
    """The value of a variable in the outermost of our callers that has it: the server's own; or None."""
    frame, value = sys._getframe(1).f_back, None
    while frame is not None:
        value = frame.f_locals.get(variable, value)
        frame = frame.f_back
    return value


def _is_self(frame: FrameType, module: str, attribute: str) -> bool:
    """Whether the frame is of a method of an object that comes from this module and has this attribute."""
    found = frame.f_locals.get("self")
    return type(found).__module__.startswith(module) and hasattr(found, attribute)


def find_frame(is_wanted: Callable[[FrameType], bool], start: FrameType | None = None) -> FrameType | None:
    """The nearest frame of this kind, from the caller's, or from ``start``, outwards; or None."""
    frame = start or sys._getframe(1).f_back
    while frame is not None and not is_wanted(frame):
        frame = frame.f_back
    return frame
