"""The SQLite broker: all processes of one machine, and a history that outlives them.

``broker`` composes the five parts of the contract, a file each: ``history``, ``leases``, ``presence``, ``reports`` and
``one_time_keys``. They share a ``store``: the lock, and the one ``file`` that is open, which is a ``database`` (two
``connection``s and their transactions) with its tables (``schema``). The statements of the history are in five files:
``events`` appends and delivers, ``reading`` reads again, ``floors`` says up to where events are over a limit,
``trimming`` deletes them, and ``leap`` makes sure that no sequence is given twice. ``delivery`` is the thread that
looks for new events, ``reserve`` deals with a full disk. No other engine, no streams.
"""

from .broker import SQLiteBroker

__all__ = ["SQLiteBroker"]
