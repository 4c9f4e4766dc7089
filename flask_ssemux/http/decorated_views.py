"""The views that ``@streaming`` decorates, and which of them an application serves undecorated by mistake.

``@streaming`` above ``@app.route`` decorates a view that is registered already: the decorated one is never called, and
nothing fails. This file only finds such views.
"""

from __future__ import annotations

import gc
import sys
import types
import weakref
from typing import Any, Callable, Iterator

from flask import Flask

View = Callable[..., Any]


class Decoration:
    """What became of the wrappers of one view."""

    def __init__(self) -> None:
        #: Whether a request has reached one of them.
        self.is_used = False
        self._wrappers: list[weakref.ref[View]] = []

    def add_wrapper(self, wrapper: View) -> None:
        self._wrappers = [*(reference for reference in self._wrappers if reference() is not None), weakref.ref(wrapper)]

    def is_lost(self, view: View, served: set[int]) -> bool:
        """Return whether nothing can call a wrapper: each is gone, or only has the name that the view had.

        :param served: the ids of the functions that the application's views lead to.
        """
        if self.is_used:
            return False
        named = {id(function) for function in _follow(_find_by_name(view))}
        for reference in self._wrappers:
            wrapper = reference()
            if wrapper is None:
                continue
            if id(wrapper) in served or not (id(wrapper) in named or _is_local(wrapper)):
                return False
        return True


_decorations: weakref.WeakKeyDictionary[View, Decoration] = weakref.WeakKeyDictionary()


def note_wrapper(view: View, wrapper: View) -> list[Decoration]:
    """Note that a wrapper was made of a view, and so of every function that the view was made of by decorators: one of
    these may be what ``@app.route`` registered. Return what is known of them.
    """
    found = [_get_decoration(function) for function in _follow(view)]
    for decoration in found:
        decoration.add_wrapper(wrapper)
    return found


def _get_decoration(view: View) -> Decoration:
    try:
        return _decorations.setdefault(view, Decoration())
    except TypeError:  # it has no hash, or no weak reference
        return Decoration()


def find_undecorated(app: Flask) -> Iterator[str]:
    """Yield a warning for each view that ``@streaming`` decorates too late."""
    views = app.view_functions
    served = {id(function) for view in views.values() for function in _follow(view)}
    for endpoint, view in views.items():
        decoration = _find_decoration(view)
        if decoration is not None and decoration.is_lost(view, served):
            yield (
                "the view %r is served without @flask_ssemux.streaming: the decorator is above @app.route, where it "
                "has no effect; write @app.route(...) first, below it @flask_ssemux.streaming, and then def %s"
                % (endpoint, getattr(view, "__name__", endpoint))
            )


def _find_decoration(view: View) -> Decoration | None:
    try:
        return _decorations.get(view)
    except TypeError:
        return None


def _find_by_name(view: View) -> View | None:
    """Return what has the view's name in the view's module now."""
    module = sys.modules.get(getattr(view, "__module__", None) or "")
    return vars(module).get(getattr(view, "__qualname__", "")) if module is not None else None


def _is_local(wrapper: View) -> bool:
    """Return whether only local variables of functions that run have this wrapper."""
    return all(isinstance(owner, types.FrameType) for owner in gc.get_referrers(wrapper))


def _follow(function: Any) -> Iterator[View]:
    """Yield a function, and those that it was made of by decorators."""
    for _ in range(100):
        if function is None:
            return
        yield function
        function = getattr(function, "__wrapped__", None)
