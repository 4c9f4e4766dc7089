"""The messages by which processes tell each other about work: what is free now, and which run has to end.

They go through the broker like events, on a channel that no client reads, so all processes that serve streams receive
them within milliseconds. None is needed: what a message says is also in the store, and found there within a second.
"""

from __future__ import annotations

import json
from typing import Callable, Collection, NamedTuple

from ..brokers import Broker
from ..sse.encode import OWN_PREFIX

#: The channel of these messages. Applications cannot publish on it, and clients cannot read it.
WORK_CHANNEL = OWN_PREFIX + "work"


class WorkMessage(NamedTuple):
    """
    :param free: names of work whose lease was released, so that any process may take it.
    :param cancel: the id of a run that has to end.
    """

    free: tuple[str, ...] = ()
    cancel: str = ""

    def to_json(self) -> bytes:
        return json.dumps({name: value for name, value in self._asdict().items() if value}).encode("ascii")

    @classmethod
    def from_json(cls, body: bytes) -> WorkMessage:
        """Read what ``to_json`` made. Fields that a later version adds are ignored.

        :raises ValueError: it is not such a message.
        """
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("a message of %d bytes is not an object" % len(body))
        free, cancel = message.get("free", ()), message.get("cancel", "")
        if not isinstance(cancel, str) or not all(isinstance(name, str) for name in free):
            raise ValueError("a message of %d bytes has a value of the wrong type" % len(body))
        return cls(tuple(free), cancel)


def announce_free(broker: Broker, names: Collection[str]) -> None:
    """Tell all processes that this work is free.

    :raises BrokerUnavailable: they find out by themselves, within ``WORK_INTERVAL``.
    """
    broker.history.append_event(WORK_CHANNEL, WorkMessage(free=tuple(names)).to_json())


class WorkMessages:
    """Passes the messages that come to this process on to those who handle them."""

    def __init__(self) -> None:
        #: Each is called with each message. They wait for nothing.
        self.handlers: list[Callable[[WorkMessage], None]] = []

    def handle_body(self, body: bytes) -> None:
        """A message has come.

        :raises ValueError: it is not a valid message.
        """
        message = WorkMessage.from_json(body)
        for handler in self.handlers:
            handler(message)
