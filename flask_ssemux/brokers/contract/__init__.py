"""The contract that every engine keeps: what a broker's methods promise, block on, raise and mean after ``close``.

``Broker`` is composed of five parts, each a small contract in a file of its own: ``EventHistory``, ``Leases``,
``Presence``, ``Reports`` and ``OneTimeKeys``. No engine's code, no streams, no Flask and no gevent.
"""

from .any_thread import call_from_any_thread
from .broker import Broker
from .history import EventHistory, Listener
from .leases import Leases
from .one_time_keys import OneTimeKeys
from .presence import Change, Member, Presence, RosterChanges, StreamCounts
from .reports import RegisteredApplication, Reports, WorkerReport
from .user_slots import SlotAnswer

__all__ = [
    "Broker", "Change", "EventHistory", "Leases", "Listener", "Member", "OneTimeKeys", "Presence",
    "RegisteredApplication", "Reports", "RosterChanges", "SlotAnswer", "StreamCounts", "WorkerReport",
    "call_from_any_thread",
]  # fmt: skip
