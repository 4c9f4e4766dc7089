"""What the parts of the memory broker share: one lock, and whether the broker is closed."""

from __future__ import annotations

import threading

from ...errors import BrokerClosed


class MemoryStore:
    """``changed`` guards everything that the parts keep, and is notified of each event."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.is_closed = False

    def check_open(self) -> None:
        """
        :raises BrokerClosed: the broker is closed.
        """
        if self.is_closed:
            raise BrokerClosed("this memory broker is closed")
