"""The contract that every engine keeps: what a broker's methods promise, block on, raise and mean after ``close``.

``Broker`` is composed of six parts, each a small contract in a file of its own: ``EventHistory``, ``Leases``,
``Presence``, ``Reports``, ``OneTimeKeys`` and ``Work``. No engine's code, no streams, no Flask and no gevent.
"""

from .any_thread import call_from_any_thread
from .broker import Broker
from .history import EventHistory, Listener
from .leases import Leases
from .one_time_keys import OneTimeKeys
from .presence import Change, Member, Presence, RosterChanges, StreamCounts
from .reports import RegisteredApplication, Reports, WorkerReport
from .user_slots import SlotAnswer
from .work import RUN_PREFIX, RUNNING, WAITING, KeptWork, RunRecord, Work, WorkBatch, WorkLease

__all__ = [
    "RUNNING", "RUN_PREFIX", "WAITING",
    "Broker", "Change", "EventHistory", "KeptWork", "Leases", "Listener", "Member", "OneTimeKeys", "Presence",
    "RegisteredApplication", "Reports", "RosterChanges", "RunRecord", "SlotAnswer", "StreamCounts", "Work", "WorkBatch",
    "WorkLease", "WorkerReport", "call_from_any_thread",
]  # fmt: skip
