"""Finds objects of servers and test clients in the frames of the functions that called us. Nothing is changed."""

from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any, Callable, Mapping


def find_caller(module: str, attribute: str) -> Any:
    """Return the nearest object among our callers that comes from this module and has this attribute; or None."""
    frame = find_frame(lambda one: _is_method_of(one, module, attribute))
    return None if frame is None else frame.f_locals["self"]


def find_in_main_thread(module: str, attribute: str) -> Any:
    """Return the nearest such object among the callers in the main thread, which started the server; or None."""
    found = find_variables_in_main_thread(lambda one: _is_method_of(one, module, attribute))
    return None if found is None else found["self"]


def find_variables_in_main_thread(is_wanted: Callable[[FrameType], bool]) -> Mapping[str, Any] | None:
    """Return the variables of the nearest frame of this kind in the main thread; or None."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    if frame is sys._getframe():
        frame = frame.f_back  # a frame that refers to itself keeps its callers' variables until a garbage collection
    while frame is not None and not is_wanted(frame):
        frame = frame.f_back
    return None if frame is None else frame.f_locals


def is_called_from(module: str, variable: str) -> bool:
    """Return whether a function of this module that has this variable is among our callers."""
    return find_frame(lambda one: one.f_globals.get("__name__") == module and variable in one.f_locals) is not None


def find_outermost(variable: str) -> Any:
    """Return the value of a variable in the outermost caller that has it, which is the server; or None."""
    frame, value = sys._getframe(1).f_back, None
    while frame is not None:
        value = frame.f_locals.get(variable, value)
        frame = frame.f_back
    return value


def find_frame(is_wanted: Callable[[FrameType], bool]) -> FrameType | None:
    """Return the nearest frame of this kind, from the caller's caller outwards; or None."""
    frame = sys._getframe(1).f_back
    while frame is not None and not is_wanted(frame):
        frame = frame.f_back
    return frame


def _is_method_of(frame: FrameType, module: str, attribute: str) -> bool:
    """Return whether the frame is of a method of an object that comes from this module and has this attribute."""
    found = frame.f_locals.get("self")
    return type(found).__module__.startswith(module) and hasattr(found, attribute)
