"""The functions that go on with runs whose process is dead: their names, by which another process finds them.

A function at the level of a module is found by its module and its name, if this process has loaded the module: whoever
writes into the store must not choose what is imported. One that is defined elsewhere, as in an application factory, is
registered. No store, no runs.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, Callable, TypeVar

from ..errors import ApplicationError
from ..util.printable import show_value

F = TypeVar("F", bound=Callable[..., Any])


class ResumeFunctions:
    """The resume functions of an application."""

    def __init__(self) -> None:
        self._registered: dict[str, Callable[..., Any]] = {}
        #: Whether there are any, so that this process looks for runs that nobody goes on with.
        self.are_used = False

    def register(self, function: F) -> F:
        """See ``SSEMux.resumes_run``.

        :raises ApplicationError: another function has its name.
        """
        name = _make_name(function)
        if self._registered.setdefault(name, function) is not function:
            raise ApplicationError("resumes_run has a function %r already: give one of the two another name" % name)
        self.are_used = True
        return function

    def name_function(self, function: Any) -> str | None:
        """Return the name by which another process finds this function; None for None.

        :raises ApplicationError: no other process can find it.
        """
        if function is None:
            return None
        name = _make_name(function) if callable(function) else show_value(function)
        if self._registered.get(name) is not function and _find_in_module(name) is not function:
            raise ApplicationError(
                "resume=%s: another worker has to find this function by its name; define it at the level of its "
                "module, or register it with @mux.resumes_run" % name
            )
        self.are_used = True
        return name

    def find_function(self, name: str) -> Callable[..., Any] | None:
        """Return the function of this name; None if there is none here."""
        return self._registered.get(name) or _find_in_module(name)


def _make_name(function: Any) -> str:
    return "%s:%s" % (function.__module__, getattr(function, "__qualname__", repr(function)))


def _find_in_module(name: str) -> Any:
    """Return a function that is written in a module, by its name; None if there is none.

    The name may come from the store, so nothing is imported for it, and what a module imports from others is not found.
    """
    module, _, path = name.partition(":")
    found = vars(sys.modules[module]).get(path) if module in sys.modules else None
    return found if inspect.isfunction(found) and found.__module__ == module else None
