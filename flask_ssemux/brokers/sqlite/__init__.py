"""The SQLite broker: all processes of one machine, and a history that outlives them.

``broker`` holds the contract's methods and the lock, ``file`` one open file, ``events``, ``places`` and ``presence``
the statements on its tables, ``schema`` the tables, and ``tail`` the thread that looks for news. No other engine, no
streams.
"""

from .broker import SQLiteBroker

__all__ = ["SQLiteBroker"]
