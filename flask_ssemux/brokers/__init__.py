"""Brokers keep the order and the history of events, and carry them between processes.

``contract`` says what every broker promises, ``urls`` opens one by its URL, and each engine is a folder: ``memory``,
``sqlite``, ``redis``, ``postgres``. ``records`` holds the values that brokers take and return, ``merge`` reads several
channels in one order, ``names`` makes names of processes and epochs, ``namespace`` keeps the stores of several
applications apart. No streams, no Flask, no gevent: engines use the standard library's ``threading``, ``time`` and
``socket``, which gunicorn's gevent worker turns into greenlets, so that the same code runs under ``flask run`` and in
other processes.

How to add an engine
--------------------

These are the steps in this folder; docs/architecture.md also lists those outside.

1. Make a folder beside the others, with a file for each part of the contract: ``history``, ``leases``, ``presence``,
   ``reports``, ``one_time_keys``, ``work``. In each, derive one class from the contract's, such as
   ``class RedisHistory(EventHistory)``, and define its abstract methods; the docstrings in ``contract`` say what
   each must do, how long it may block, and what it raises. ``memory`` is the shortest example. Describe the schema of
   the store in a header.
2. Let the parts share one object that holds connections, locks and whether the broker is closed (each engine's
   ``store``). The parts get this object and not each other, so no import is circular. The first call of a method opens
   the store, and not the constructor. Turn the driver's errors into ``BrokerUnavailable``, and raise ``BrokerClosed``
   after ``close``.
3. Threads need no care: a contract's methods are wrapped, so that any thread can call them. For forks, define
   ``prepare_fork``, ``finish_fork`` and ``disown``, and call ``forks.halt_copy`` in each thread of the engine after it
   waited.
4. Compose the parts in a class derived from ``Broker``, and open it in ``urls`` by the beginning of its URL, which is
   one of ``SCHEMES``. If the driver is an extra, import the engine when it is opened. Apply ``namespace`` to the URL or
   to the tables.
5. In ``tests/brokers/conftest.py`` add a fixture with the engine's name, and the name to ``ENGINES``. Beside it add
   ``test_contract_<engine>.py``, which composes the suites that the engine passes: one for each part of the contract,
   so that the parts can be written one after the other. Tests of this engine alone get files of their own.
"""

from .contract import (
    RUN_PREFIX,
    RUNNING,
    WAITING,
    Broker,
    Change,
    EventHistory,
    KeptWork,
    Leases,
    Listener,
    Member,
    Presence,
    RegisteredApplication,
    RunRecord,
    SlotAnswer,
    StreamCounts,
    Work,
    WorkBatch,
    WorkerReport,
    WorkLease,
    call_from_any_thread,
)
from .contract.constants import (
    LEASE_SECONDS,
    PAGE_BYTES,
    REGISTRATION_SECONDS,
    REPORT_INTERVAL,
    WORK_INTERVAL,
    WORK_SECONDS,
)
from .contract.lock import hold_lock
from .contract.presence import JOIN, LEAVE, MAX_GRACE
from .contract.reports import is_same_name
from .merge import Merge
from .names import make_random_name
from .records import ChannelPage, Floors, HistoryLimits, NewEvent, Page, Range, Record, SubscriptionStart
from .urls import absolute_url, open_broker

__all__ = [
    "JOIN", "LEASE_SECONDS", "LEAVE", "MAX_GRACE", "PAGE_BYTES", "REGISTRATION_SECONDS", "REPORT_INTERVAL",
    "RUNNING", "RUN_PREFIX", "WAITING", "WORK_INTERVAL", "WORK_SECONDS",
    "Broker", "Change", "ChannelPage", "EventHistory", "Floors", "HistoryLimits", "KeptWork", "Leases", "Listener",
    "Member", "Merge", "NewEvent", "Page", "Presence", "Range", "Record",
    "RegisteredApplication", "RunRecord", "SlotAnswer", "StreamCounts", "SubscriptionStart",
    "Work", "WorkBatch", "WorkLease", "WorkerReport",
    "absolute_url", "call_from_any_thread", "hold_lock", "is_same_name", "make_random_name", "open_broker",
]  # fmt: skip
