"""For tests of an application's streams: a client in the same process, without a server, and a clock under control.

The application runs as it does under a server, with its WSGI callable, its middleware and its rules; a thread reads the
response as a client would. Nothing else in the package imports this folder. ``pytest_plugin.py`` has the fixtures.
"""

from __future__ import annotations

from .clock import Clock, frozen
from .open_stream import OpenStream, close, stream
from .received import Event

__all__ = ["Clock", "Event", "OpenStream", "close", "frozen", "stream"]
