"""A memory broker with one part replaced, for tests that watch or change what a broker does."""

from __future__ import annotations

from flask_ssemux.brokers import HistoryLimits
from flask_ssemux.brokers.memory import MemoryBroker


def memory_with_history(kind, **limits):
    """
    :param kind: a class that is derived from ``MemoryHistory``.
    """
    broker = MemoryBroker(HistoryLimits(**limits))
    broker.history = kind(broker._store, HistoryLimits(**limits))
    return broker
