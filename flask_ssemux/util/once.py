"""A value that is made when it is first needed, once in each process. A forked child makes a value of its own."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar

from . import forks

T = TypeVar("T")


class OncePerProcess(Generic[T]):
    """Makes one value in each process.

    :param make: makes it; called by one thread at a time. If it raises, the next ``get`` calls it again.
    :param make_lock: makes the lock that is held meanwhile.
    """

    def __init__(self, make: Callable[[], T], make_lock: Callable[[], Any]) -> None:
        self._make = make
        self._make_lock = make_lock
        self._lock = make_lock()
        self._value: T | None = None

    def get(self) -> T:
        """Return the value of this process. The first call makes it."""
        forks.notice_fork()
        if self._value is None:
            with self._lock:
                if self._value is None:
                    self._value = self._make()
        return self._value

    @property
    def value(self) -> T | None:
        """The value, if it has been made in this process."""
        return self._value

    def forget(self) -> None:
        """In a forked child: the value is the parent's. Another thread of the parent may have held the lock."""
        self._value = None
        self._lock = self._make_lock()
