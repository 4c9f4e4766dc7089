"""The Redis broker: many machines, on Redis 5 or newer, Valkey, and what speaks their language, clusters included.

``broker`` composes the five parts of the contract, a file each: ``history``, ``leases``, ``presence``, ``reports`` and
``one_time_keys``. They share a ``store``, whose header lists the keys; all changes are made by ``scripts``, which are
in ``lua``. ``address`` opens connections, of a cluster with the help of ``cluster``; ``connection`` calls scripts on
one, and ``refusal`` makes errors of a server's answers. The history is read by ``reading``; ``delivery`` is the thread
that receives new events, on a ``subscription``. No other engine, no streams.
"""

from .broker import RedisBroker

__all__ = ["RedisBroker"]
