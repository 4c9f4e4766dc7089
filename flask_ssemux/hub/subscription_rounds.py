"""Asks the broker to deliver channels, once for all streams that are being opened at the same time.

The first stream that needs an answer lets others run that are ready, then asks for all that came meanwhile. Those that
come later are a round of their own, and do not wait for the answer to the round before. Which stream reads what is kept
in ``subscriptions.py``.
"""

from __future__ import annotations

import threading
from typing import Iterable

from ..brokers import EventHistory, SubscriptionStart
from ..errors import BrokerError
from ..util import forks


class _Round:
    """Streams that get one answer."""

    def __init__(self) -> None:
        self.channels: set[str] = set()
        self.ended = threading.Event()
        self.answer: SubscriptionStart | None = None
        #: Why there is no answer, if the broker said so.
        self.error: BrokerError | None = None


class SubscriptionRounds:
    """Any number of threads or greenlets may subscribe at a time."""

    def __init__(self, history: EventHistory) -> None:
        self._history = history
        self._lock = threading.Lock()
        #: The round that others may join; None if the next stream begins one.
        self._next: _Round | None = None

    def subscribe_channels(self, channels: Iterable[str]) -> SubscriptionStart:
        """Subscribe as ``EventHistory.subscribe_channels`` does.

        :return: the position, and the latest events of all channels of the round.
        :raises BrokerUnavailable: the store did not answer in time.
        """
        with self._lock:
            joined = self._next
            if joined is not None:
                joined.channels.update(channels)
            else:
                begun = self._next = _Round()
                begun.channels.update(channels)
        return self._lead_round(begun) if joined is None else self._await_answer(joined, channels)

    def _lead_round(self, begun: _Round) -> SubscriptionStart:
        try:
            forks.sleep(0)
            self._close_round(begun)
            begun.answer = self._history.subscribe_channels(begun.channels)
            return begun.answer
        except BrokerError as error:
            begun.error = error
            raise
        finally:
            self._close_round(begun)
            begun.ended.set()

    def _close_round(self, begun: _Round) -> None:
        """Nobody joins the round from now on."""
        with self._lock:
            if self._next is begun:
                self._next = None

    def _await_answer(self, joined: _Round, channels: Iterable[str]) -> SubscriptionStart:
        born = forks.generation
        joined.ended.wait()
        forks.halt_copy(born)
        if joined.error is not None:
            raise type(joined.error)(*joined.error.args) from joined.error
        if joined.answer is None:  # the request that led the round was ended
            return self.subscribe_channels(channels)
        return joined.answer
