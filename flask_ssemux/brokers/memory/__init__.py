"""The memory broker: one process, and a history that ends with it. For tests and first steps.

It is a real broker: it keeps the whole contract, with encoded bodies and a trimmed history. Nothing here is seen by
another process. ``broker`` composes the parts, which share one lock (``store``); ``kept_events`` is what the history
keeps. No other engine, no streams.
"""

from .broker import MemoryBroker

__all__ = ["MemoryBroker"]
