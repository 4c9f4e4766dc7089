"""Clients on a network of their own, which can be cut: a laptop whose lid closes looks like this to a server.

The network is a namespace that lives as long as the process in it, so that it ends with the tests however they end. A
pair of virtual interfaces joins it to this machine. It needs Linux, iproute2 and root; without them the test is
skipped, or fails in CI.
"""

from __future__ import annotations

import os
import subprocess
import sys

from tests.harness.packages import missing, need
from tests.harness.servers import Server

#: The network for tests between networks (RFC 2544, 198.18.0.0/15); each process of a parallel run uses its own part.
PREFIX = "198.18.%d.%d"

CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
connection.settimeout(None)
connection.sendall("GET {} HTTP/1.1\\r\\nHost: x\\r\\nX-User: {}\\r\\n\\r\\n".format(*sys.argv[3:]).encode())
while True:
    data = connection.recv(65536)
    sys.stdout.buffer.write(data or b"the server ended it")
    sys.stdout.buffer.flush()
    if not data:
        break
"""


class FarNetwork(Server):
    """A network namespace; `address` is this machine as it is seen from there."""

    name = "far-network"

    def __init__(self) -> None:
        self._ip_program, self._unshare = need("iproute2", "ip"), need("util-linux", "unshare")
        refused = subprocess.run([self._unshare, "--net", "true"], stderr=subprocess.PIPE)
        if refused.returncode:
            missing(f"no network namespace can be made here, which takes root: {refused.stderr.decode().strip()}")
        super().__init__()
        piece = os.getpid() % 256, self.port % 64 * 4
        self.address = PREFIX % (piece[0], piece[1] + 1)
        self._far_address = PREFIX % (piece[0], piece[1] + 2)
        self._near, self._far = f"sse{self.port}n", f"sse{self.port}f"

    def command(self) -> list[str]:
        return [self._unshare, "--net", "sleep", "infinity"]

    def ready(self) -> bool:
        return os.readlink(f"/proc/{self.pid}/ns/net") != os.readlink("/proc/self/ns/net")

    def start(self) -> FarNetwork:
        super().start()
        try:
            self._join()
        except BaseException:
            self.kill()
            raise
        return self

    def inside(self, *command: str) -> list[str]:
        """Return the command that runs a command inside the namespace."""
        return [need("util-linux", "nsenter"), "--target", str(self.pid), "--net", *command]

    def cut(self) -> None:
        """Set its link down: nothing arrives any more on either side, and neither side is notified."""
        self._run(*self.inside(self._ip_program, "link", "set", self._far, "down"))

    def kill(self) -> None:
        """Delete the interfaces too: a connection whose last packets cannot be sent would keep them for some
        minutes.
        """
        subprocess.run([self._ip_program, "link", "delete", self._near], stderr=subprocess.DEVNULL)
        super().kill()

    def _join(self) -> None:
        def ip(*words: str) -> tuple[str, ...]:
            return (self._ip_program, *words)

        self._run(*ip("link", "add", self._near, "type", "veth", "peer", "name", self._far))
        self._run(*ip("link", "set", self._far, "netns", str(self.pid)))
        self._run(*ip("address", "add", self.address + "/30", "dev", self._near))
        self._run(*ip("link", "set", self._near, "up"))
        self._run(*self.inside(*ip("address", "add", self._far_address + "/30", "dev", self._far)))
        self._run(*self.inside(*ip("link", "set", self._far, "up")))

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout.decode()}"


class FarClient(Server):
    """One stream that is read inside the namespace. Its output is its log; it is ready when it has received the
    hello.
    """

    name = "far-client"

    def __init__(self, network: FarNetwork, port: int, path: str, user: str) -> None:
        super().__init__()
        program = [sys.executable, "-c", CLIENT, network.address, str(port), path, user]
        self._command = network.inside(*program)

    def command(self) -> list[str]:
        return self._command

    def ready(self) -> bool:
        return "ssemux.hello" in self.log
