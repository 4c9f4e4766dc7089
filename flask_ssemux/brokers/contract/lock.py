"""Waits for a lock as long as a call of a broker may wait."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import Iterator

from ...errors import BrokerUnavailable
from . import constants


@contextmanager
def hold_lock(lock: threading.Lock, what: str) -> Iterator[None]:
    """Hold a lock; wait for it ``WAIT_SECONDS`` at most.

    :param what: how the error begins: what other callers are doing meanwhile.
    :raises BrokerUnavailable: others held the lock all that time.
    """
    if not lock.acquire(timeout=constants.WAIT_SECONDS):
        raise BrokerUnavailable("%s by others, for %g s" % (what, constants.WAIT_SECONDS))
    try:
        yield
    finally:
        lock.release()
