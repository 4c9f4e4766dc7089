"""The ports of pushpin and of its application, which follow from the port of its clients.

They are below 32768, where Linux begins to number the ports of clients (``ip_local_port_range``): those may be in use.
"""

from __future__ import annotations

_LOWEST, _COUNT = 1024, 31_000


def get_publish_port(port: int) -> int:
    """Return the port at which pushpin takes what is published."""
    return _LOWEST + port % _COUNT


def get_backend_port(port: int) -> int:
    """Return the port of the application."""
    return _LOWEST + (port + _COUNT // 2) % _COUNT
