"""The Redis broker: many machines, on Redis 5 or newer, Valkey, and what speaks their language.

``broker`` holds the contract's methods and says what the keys are, ``tail`` the thread that hears what is announced,
``subscription`` its connection, ``places`` the places that are held, ``line`` the connections that scripts are called
on, ``address`` how a connection is opened, ``scripts`` and ``lua`` the scripts. No other engine, no streams.
"""

from .broker import RedisBroker

__all__ = ["RedisBroker"]
