"""Bounded waiting for a condition outside of this process; a failure shows what was seen."""

from __future__ import annotations

import time
from typing import Any, Callable

POLL_SECONDS = 0.01


def until(check: Callable[[], Any], timeout: float, tell: Callable[[], str] | str) -> Any:
    """Call `check` until its result is true and return that; `tell` describes what was seen if it never was."""
    deadline = time.monotonic() + timeout
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > deadline:
            seen = tell() if callable(tell) else tell
            raise AssertionError(f"not within {timeout} s: {seen}")
        time.sleep(POLL_SECONDS)
