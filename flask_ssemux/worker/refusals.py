"""Counts the streams that were not opened, by reason, and logs each reason once a minute. Nothing is refused here."""

from __future__ import annotations

import logging
import time

from ..options import log
from ..util import forks
from ..util.log_throttle import LogThrottle


class Refusals:
    """The refused streams of one application in this process."""

    def __init__(self) -> None:
        self._throttle = LogThrottle()
        forks.register_owner(self)

    def record(
        self, why: str, how: str = "was sent away", level: int = logging.WARNING, error: Exception | None = None
    ) -> None:
        """Count one refused stream.

        :param error: what the log line says instead of ``why``.
        """
        more = self._throttle.count(why, time.monotonic())
        if more is not None:
            log.log(level, "a stream %s: %s%s", how, error or why, more)

    @property
    def counts(self) -> dict[str, int]:
        """How many streams were refused, by reason."""
        return self._throttle.counts

    def disown(self) -> None:
        """In a forked child: count from 0. Another thread of the parent may have held the lock."""
        self._throttle = LogThrottle()
