"""A value that is made when it is first needed, once in each process. A forked child makes a value of its own."""

from __future__ import annotations

import os
from typing import Any, Callable, Generic, TypeVar

from . import forks
from .made_when_used import MadeWhenUsed, forget

T = TypeVar("T")


class OncePerProcess(Generic[T]):
    """Makes one value in each process.

    :param make: makes it; called by one thread at a time. If it raises, the next ``get`` calls it again.
    :param make_lock: makes the lock that is held meanwhile.
    """

    _lock = MadeWhenUsed(lambda once: once._make_lock())

    def __init__(self, make: Callable[[], T], make_lock: Callable[[], Any]) -> None:
        self._make = make
        self._make_lock = make_lock
        #: The value, if it has been made in this process.
        self.value: T | None = None

    def get(self) -> T:
        """Return the value of this process. The first call makes it."""
        if os.getpid() != forks.process_id:
            forks.notice_fork()
        if self.value is None:
            with self._lock:
                if self.value is None:
                    self.value = self._make()
        return self.value

    def forget(self) -> None:
        """In a forked child: the value is the parent's. Another thread of the parent may have held the lock."""
        self.value = None
        forget(self, "_lock")
