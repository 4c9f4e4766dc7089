"""Attributes that are made when they are first used: locks of objects that exist before gevent has patched the process.

With ``preload_app`` gunicorn's master makes the application, and gevent patches ``threading`` later, in each worker. A
lock that was made before is one of native threads: if a greenlet waits for it, all greenlets of the worker stop. So the
locks of what ``init_app`` makes are made here, in a worker's first request at the earliest. Nothing else is known.
"""

from __future__ import annotations

from typing import Any, Callable


class MadeWhenUsed:
    """An attribute of a class. Its value is made once for each object, and once more after ``forget``.

    :param make: makes the value; called with the object. If two threads use the attribute for the first time at once,
        it is called twice, and both get the same value.
    """

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return vars(instance).setdefault(self._name, self._make(instance))


def forget(instance: Any, *names: str) -> None:
    """In a forked child: have these attributes made again."""
    for name in names:
        vars(instance).pop(name, None)
