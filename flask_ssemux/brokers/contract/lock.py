"""Waits for a lock as long as a call of a broker may wait."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import Iterator

from ...errors import BrokerUnavailable
from . import constants


@contextmanager
def hold_lock(lock: threading.Lock, what: str, deadline: float | None = None) -> Iterator[None]:
    """Hold a lock; wait for it ``WAIT_SECONDS`` at most.

    :param what: how the error begins: what other callers are doing meanwhile.
    :param deadline: of a call that has waited for something else before (monotonic time).
    :raises BrokerUnavailable: others held the lock all that time.
    """
    seconds = constants.WAIT_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
    if not lock.acquire(timeout=seconds):
        raise BrokerUnavailable("%s by others, for %g s" % (what, constants.WAIT_SECONDS))
    try:
        yield
    finally:
        lock.release()
