"""Real Redis servers as context managers, in addition to those of servers.py: a single server, a replica, a sentinel.

Each has a free port of its own on 127.0.0.1 and keeps its data in the folder of the tests' logs, so it meets no other
Redis of the machine and leaves nothing behind. The tests query the servers through redis-py, not through a broker's
code.
"""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any, Sequence

import redis

from tests.harness.packages import need
from tests.harness.servers import Server, log_folder, started
from tests.harness.waiting import until

#: The maximum that a command of the tests may take, in seconds.
ASK_SECONDS = 5.0


class _Asked(Server):
    """A server that speaks Redis's protocol and reads its settings from a file, which it may rewrite."""

    password: str | None = None

    def __init__(self, package: str, program: str) -> None:
        self.program = need(package, program)
        super().__init__()
        self.config_path = log_folder() / f"{self.name}-{self.port}.conf"

    def ask(self, *words: Any) -> Any:
        """Send one command over a connection of its own, without retries; return the plain answer, bytes decoded."""
        connection = redis.Connection(
            host="127.0.0.1",
            port=self.port,
            password=self.password,
            decode_responses=True,
            socket_timeout=ASK_SECONDS,
            socket_connect_timeout=ASK_SECONDS,
        )
        try:
            connection.connect()
            connection.send_command(*words)
            return connection.read_response()
        finally:
            connection.disconnect()

    def ready(self) -> bool:
        """Return whether it answers a PING: while it loads its data, it refuses even that."""
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False

    def restart(self) -> Any:
        """Start it again, on its port and with the data that it has kept. A running server is stopped first with
        SIGTERM.
        """
        if self.running:
            self.stop()
        if self in started:  # it is forgotten if it stopped in an earlier test
            started.remove(self)
        return self.start()

    def pause(self) -> None:
        """Make it hang (SIGSTOP): connections stay, answers do not come."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def _write_config(self, lines: Sequence[str]) -> None:
        common = ["bind 127.0.0.1", f"port {self.port}", "daemonize no", "protected-mode no", f"dir {self._folder()}"]
        self.config_path.write_text("\n".join([*common, *lines]) + "\n")

    def _folder(self) -> Path:
        folder = log_folder() / f"{self.name}-{self.port}"
        folder.mkdir(exist_ok=True)
        return folder


class RedisServer(_Asked):
    """`redis-server`. Without `aof` it keeps nothing on disk: its data is lost with the process. With `fsync` other
    than `always`, a server that is killed while its disk is slow may lose what it has acknowledged.

    `args` go to the command line after the settings file (`"--unixsocket", path`; `"--tls-port", …`), and override it.
    With `replica_of` it follows another server, and is ready when it has that server's data.
    """

    name = "redis"

    def __init__(
        self,
        aof: bool = True,
        fsync: str = "everysec",
        password: str | None = None,
        replica_of: RedisServer | None = None,
        args: Sequence[str] = (),
    ) -> None:
        super().__init__("redis-server", "redis-server")
        self.password, self.replica_of, self.args = password, replica_of, list(args)
        self.folder = self._folder()
        lines = ['save ""', f"appendonly {'yes' if aof else 'no'}", f"appendfsync {fsync}"]
        lines += [f"requirepass {password}", f"masterauth {password}"] if password else []
        lines += ["repl-diskless-sync-delay 0"]
        lines += [f"replicaof 127.0.0.1 {replica_of.port}"] if replica_of else []
        self._write_config(lines)

    def command(self) -> list[str]:
        return [self.program, str(self.config_path), *self.args]

    def ready(self) -> bool:
        if not super().ready():
            return False
        return self.replica_of is None or self.info("replication").get("master_link_status") != "down"

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def info(self, section: str) -> dict[str, str]:
        return dict(line.split(":", 1) for line in self.ask("INFO", section).splitlines() if ":" in line)

    def wipe(self) -> None:
        """Delete all that it has kept on disk."""
        assert not self.running, f"{self.name} on port {self.port} runs: its data cannot be wiped under it"
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def empty(self) -> None:
        """Delete all that it has, while it runs."""
        self.ask("FLUSHALL")

    def count_connections(self) -> int:
        """Return the number of its clients' connections: without replicas, other nodes, and the one that asks."""
        clients = self.ask("CLIENT", "LIST", "TYPE", "NORMAL") + self.ask("CLIENT", "LIST", "TYPE", "PUBSUB")
        return sum("cmd=client" not in line for line in clients.splitlines())


class Sentinel(_Asked):
    """`redis-sentinel`, alone: its own vote is enough to make a replica the master, after a second of silence.

    Start it when the master has its replicas; it is ready when it knows them.
    """

    name = "sentinel"
    service = "main"
    """What clients call the master."""

    def __init__(self, master: RedisServer, replicas: Sequence[RedisServer] = ()) -> None:
        super().__init__("redis-sentinel", "redis-sentinel")
        self.master, self.replicas = master, list(replicas)
        lines = [
            f"sentinel monitor {self.service} 127.0.0.1 {master.port} 1",
            f"sentinel down-after-milliseconds {self.service} 1000",
            f"sentinel failover-timeout {self.service} 5000",
        ]
        lines += [f"sentinel auth-pass {self.service} {master.password}"] if master.password else []
        self._write_config(lines)

    def command(self) -> list[str]:
        return [self.program, str(self.config_path)]

    def ready(self) -> bool:
        return super().ready() and len(self.ask("SENTINEL", "REPLICAS", self.service)) == len(self.replicas)

    def master_port(self) -> int:
        """Return the port of the current master, according to the sentinel."""
        _, port = self.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return int(port)

    def wait_master(self, server: RedisServer, timeout: float) -> None:
        """Wait until this server is the master, according to the sentinel and to the server itself."""
        until(
            lambda: self.master_port() == server.port and server.info("replication")["role"] == "master",
            timeout,
            lambda: f"redis on port {server.port} is the master; the sentinel says port {self.master_port()}",
        )
