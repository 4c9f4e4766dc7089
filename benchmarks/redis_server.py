"""A redis-server for a benchmark: a free loopback port, a scratch folder, killed at the end.

Set up as Debian's is, with the append-only file on: fsync each second, a rewrite when the file has doubled and is
over 64 MB, snapshots when there is news. They are Redis's own defaults too; those that matter are said again here.
"""

from __future__ import annotations

import os
import shutil
import socket

from .child import Child, free_port

_DEFAULTS = (
    "--appendonly", "yes", "--appendfsync", "everysec",
    "--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "64mb",
    "--save", "3600 1 300 100 60 10000",
)  # fmt: skip


def is_here() -> bool:
    """Whether there is a redis-server to start."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """One that runs and answers.

    :param core: where it runs; None leaves that to the kernel.
    :raises RuntimeError: it did not start.
    """

    def __init__(self, core: int | None = None) -> None:
        self._port = free_port()
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
        """Bytes of what it keeps: the append-only files, a rewrite under way, the snapshot."""
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

    def subscribers(self, channel: str) -> int:
        """How many connections are subscribed to a channel."""
        return int(self._ask("PUBSUB NUMSUB " + channel).rpartition(b":")[2])

    def _ping(self) -> None:
        said = self._ask("PING")
        if said != b"+PONG\r\n":
            raise OSError("PING was answered with %r" % said)

    def _ask(self, command: str) -> bytes:
        """A short answer to an inline command."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=2) as asked:
            asked.sendall(command.encode() + b"\r\n")
            return asked.recv(256)
