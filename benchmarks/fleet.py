"""Starts the processes of a fleet, and sends them commands. What they do is in ``fleet_member.py``."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from typing import Any, Sequence

from . import process
from .child import ROOT

#: Seconds that a process may take to start, and to answer a command.
PATIENCE = 60.0


class Member:
    """One process of a fleet, and the connection to it."""

    def __init__(self, link: socket.socket) -> None:
        link.settimeout(PATIENCE)
        self._link = link
        self._lines = link.makefile("r", encoding="utf-8")
        self.kind, self.pid = self.receive()

    def send(self, name: str, **values: Any) -> None:
        self._link.sendall(json.dumps([name, values]).encode() + b"\n")

    def receive(self) -> Any:
        """Return the answer to a command.

        :raises RuntimeError: the process has ended.
        """
        line = self._lines.readline()
        if not line:
            raise RuntimeError("a process of the fleet has ended: see its error above")
        return json.loads(line)


class Fleet:
    """Simulated workers and publishers of one store. Leaving the ``with`` ends them.

    :param url: the store's.
    """

    def __init__(self, url: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="ssemux-bench-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.path.join(self._folder, "socket"))
        self._listener.listen(200)
        self._listener.settimeout(PATIENCE)
        #: The processes of each kind, which ``fleet_member.KINDS`` lists.
        self.members: dict[str, list[Member]] = defaultdict(list)
        self._program = subprocess.Popen(
            (sys.executable, "-m", "benchmarks.fleet_member", os.path.join(self._folder, "socket"), url),
            stdin=subprocess.PIPE, cwd=ROOT, start_new_session=True, preexec_fn=process.pin_child(None),
        )  # fmt: skip

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for members in self.members.values():
            for member in members:
                process.kill(member.pid)
        self._program.kill()
        self._program.wait()
        self._listener.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, kind: str, count: int, core: int | None) -> list[Member]:
        """Start so many processes; return them when they are ready.

        :param kind: one of ``fleet_member.KINDS``.
        :param core: the core on which they run; None leaves that to the kernel.
        """
        assert self._program.stdin is not None
        self._program.stdin.write(b"%s %d %d\n" % (kind.encode(), count, -1 if core is None else core))
        self._program.stdin.flush()
        found = [Member(self._listener.accept()[0]) for _ in range(count)]
        self.members[kind].extend(found)
        return found

    @property
    def workers(self) -> list[Member]:
        return self.members["worker"]

    @property
    def publishers(self) -> list[Member]:
        return self.members["publisher"]

    def cpu(self, kind: str = "worker") -> float:
        """Return the seconds of CPU time that all processes of a kind have used."""
        return sum(process.read_cpu(member.pid) for member in self.members[kind])


def ask_all(members: Sequence[Member], name: str, **values: Any) -> list[Any]:
    """Send all of them one command; return their answers."""
    for member in members:
        member.send(name, **values)
    return [member.receive() for member in members]
