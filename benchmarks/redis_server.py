"""A redis-server for a benchmark, with a free loopback port and a temporary folder. It is killed at the end.

It is configured like Debian's, with the append-only file on: fsync each second, a rewrite when the file has doubled and
is over 64 MB, and snapshots. These are also Redis's defaults; the ones that matter are repeated here.
"""

from __future__ import annotations

import os
import shutil
import socket

from .child import Child, find_free_port

_DEFAULTS = (
    "--appendonly", "yes", "--appendfsync", "everysec",
    "--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "64mb",
    "--save", "3600 1 300 100 60 10000",
)  # fmt: skip


def is_installed() -> bool:
    """Tell whether redis-server is installed."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """A redis-server that runs and answers.

    :param core: the core to run on; None leaves that to the kernel.
    :raises RuntimeError: the server did not start.
    """

    def __init__(self, core: int | None = None) -> None:
        self._port = find_free_port()
        self.url = "redis://127.0.0.1:%d/0" % self._port
        where = ("--bind", "127.0.0.1", "--port", str(self._port), "--dir", ".")
        self._child = Child("redis-server", ("redis-server", *where, *_DEFAULTS), core=core)
        self.pid = self._child.pid
        try:
            self._child.wait(self._ping, (OSError,))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def disk(self) -> int:
        """Return the bytes on disk: the append-only files, a running rewrite, and the snapshot."""
        found = 0
        for folder, _, names in os.walk(self._child.folder):
            for name in names:
                try:
                    found += os.path.getsize(os.path.join(folder, name))
                except FileNotFoundError:
                    pass  # a rewrite replaced it
        return found

    def close(self) -> None:
        self._child.close()

    def count_subscribers(self, channel: str) -> int:
        """Return how many connections are subscribed to a channel."""
        return int(self._ask("PUBSUB NUMSUB " + channel).rpartition(b":")[2])

    def _ping(self) -> None:
        answer = self._ask("PING")
        if answer != b"+PONG\r\n":
            raise OSError("PING was answered with %r" % answer)

    def _ask(self, command: str) -> bytes:
        """Return the short answer to an inline command."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=2) as asked:
            asked.sendall(command.encode() + b"\r\n")
            return asked.recv(256)
