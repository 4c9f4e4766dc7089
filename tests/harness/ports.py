"""Free TCP ports."""

from __future__ import annotations

import socket

_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listened on a moment ago, never given before: logs are named by it."""
    while True:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port
