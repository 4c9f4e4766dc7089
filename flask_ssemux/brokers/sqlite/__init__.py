"""The SQLite broker: all processes of one machine, and a history that outlives them.

``broker`` holds the contract's methods and the lock, ``file`` one open file, ``schema`` its tables. The history is in
four parts: ``events`` adds and delivers, ``reading`` reads again, ``limits`` says up to where events are over a limit,
and ``trimming`` deletes them. ``leap`` sees to it that no number is given twice, ``reserve`` to a disk that is full.
``places``, ``presence`` and ``applications`` are what processes say of themselves, and ``tail`` is the thread that
looks for news. No other engine, no streams.
"""

from .broker import SQLiteBroker

__all__ = ["SQLiteBroker"]
