"""The fencing number of the work that the current code belongs to, for generators that write to other systems, too."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import Iterator

_fence: ContextVar[int | None] = ContextVar("ssemux_fence", default=None)


def current_fence() -> int | None:
    """Return the fencing number of the feed or run whose generator calls this; None outside of one.

    It grows each time the work begins in another process, or begins there again after its lease was lost. A system
    that a generator writes to can refuse a number that is smaller than the greatest that it has seen: the writer is a
    process that was asleep while another one took its work over.
    """
    return _fence.get()


@contextmanager
def set_fence(fence: int) -> Iterator[None]:
    """Let ``current_fence`` return this number in the block."""
    token = _fence.set(fence)
    try:
        yield
    finally:
        _fence.reset(token)
