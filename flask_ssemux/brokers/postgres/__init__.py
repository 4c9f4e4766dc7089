"""The PostgreSQL broker: many machines, on PostgreSQL 12 or newer, through psycopg 3.

``broker`` composes the parts of the contract, a file each: ``history``, ``leases``, ``presence``, ``reports``,
``one_time_keys`` and ``work``. They share a ``store`` with its two connections (``lane``). All changes are made by
functions in the database, which are in ``sql``; ``schema`` puts them there. ``url`` reads the URL, ``address`` opens
connections, ``connection`` asks on one, ``values`` converts what is sent and received, and ``refusal`` makes errors of
a server's answers. ``delivery`` is the thread that hears of new events, ``trimming`` deletes old ones. No other
engine, no streams.
"""

from .address import Address
from .broker import PostgresBroker
from .schema import init_database, write_script

__all__ = ["Address", "PostgresBroker", "init_database", "write_script"]
