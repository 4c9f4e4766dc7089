"""Free TCP ports.

Below those that the kernel gives to clients (Linux: from 32768 on), so that no connection has one before its server
does; and each process of a parallel run takes them from a part of its own.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

FIRST, LAST = 12000, 32000

#: Processes that a run has at most.
PARTS = 8


def _own() -> range:
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PARTS
    size = (LAST - FIRST) // PARTS
    return range(FIRST + part * size, FIRST + (part + 1) * size)


def _ports() -> itertools.chain[int]:
    """Each once, from anywhere on: another run may be here too."""
    ports = _own()
    start = random.randrange(len(ports))
    return itertools.chain(ports[start:], ports[:start])


_left = _ports()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listened on a moment ago, never given before: logs are named by it."""
    for port in _left:
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
    raise RuntimeError("no port is left of %r" % (_own(),))
