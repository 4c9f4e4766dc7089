"""What the feeds and the runs of one application share in a process. Nothing is started, and nothing asked, until one
of them needs it."""

from __future__ import annotations

from typing import Callable

from ..brokers import Broker
from .batches import Batches
from .keeper import WorkKeeper
from .messages import WorkMessages


class WorkParts:
    """
    :param get_broker: returns the broker of this process.
    """

    def __init__(self, get_broker: Callable[[], Broker]) -> None:
        self.get_broker = get_broker
        self.keeper = WorkKeeper(get_broker)
        self.batches = Batches(get_broker)
        self.messages = WorkMessages()
