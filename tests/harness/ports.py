"""Free TCP ports.

They lie below the ports that the kernel gives to clients (Linux: from 32768 on), so that no client's connection
occupies one before its server starts. Each process of a parallel run uses its own range.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

FIRST, LAST = 12000, 32000

#: The maximum number of processes of a run.
PARTS = 8


def _own() -> range:
    part = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % PARTS
    size = (LAST - FIRST) // PARTS
    return range(FIRST + part * size, FIRST + (part + 1) * size)


def _ports() -> itertools.chain[int]:
    """Yield each port once, starting anywhere: another run may use the same range."""
    ports = _own()
    start = random.randrange(len(ports))
    return itertools.chain(ports[start:], ports[:start])


_left = _ports()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nothing listened on a moment ago and that was not returned before: logs are named by it."""
    for port in _left:
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port
    raise RuntimeError("no port is left of %r" % (_own(),))
