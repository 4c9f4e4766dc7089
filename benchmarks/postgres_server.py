"""A PostgreSQL server for a benchmark, with a free loopback port and a temporary folder. It is killed at the end.

Its settings are PostgreSQL's own, but for ``max_connections``. It refuses to run as root, so root starts it as the user
of Debian's package.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
import tempfile
from typing import Any, Sequence

from . import process
from .child import Child, find_free_port

#: The user of Debian's package, who owns the server's files, and the name of the database and its superuser.
SYSTEM_USER, DATABASE = "postgres", "postgres"


def find_program(name: str) -> str | None:
    """Return the newest installed program of this name, if there is one. Debian has a folder for each version."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/" + name), key=lambda path: float(path.split("/")[4]))
    return found[-1] if found else shutil.which(name)


def is_installed() -> bool:
    """Tell whether PostgreSQL and its driver are installed."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return False
    return find_program("postgres") is not None


class PostgresServer:
    """A server that runs and answers.

    :param core: the core on which all its processes run; None leaves that to the kernel.
    :param connections: ``max_connections``.
    :raises RuntimeError: the server did not start.
    """

    def __init__(self, core: int | None = None, connections: int = 100) -> None:
        self._folder = tempfile.mkdtemp(prefix="ssemux-bench-postgres-")
        self._child: Child | None = None
        self.port = find_free_port()
        self.url = "postgresql://%s@127.0.0.1:%d/%s" % (SYSTEM_USER, self.port, DATABASE)
        try:
            self._make_cluster()
            self._child = self._start(core, connections)
            self.pid = self._child.pid
            self._child.wait(self._ping, (self._get_driver().OperationalError,))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> PostgresServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own; return its rows."""
        with self._get_driver().connect(self.url, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def list_processes(self) -> list[int]:
        """Return the process ids: the server, its own helpers, and one for each connection."""
        return [self.pid, *process.list_children(self.pid)]

    def close(self) -> None:
        if self._child is not None:
            pids = process.list_children(self._child.pid)
            self._child.close()
            for pid in pids:  # they have sessions of their own
                process.kill(pid)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_cluster(self) -> None:
        if os.getuid() == 0:
            shutil.chown(self._folder, SYSTEM_USER)
        command = [find_program("initdb") or "initdb", "-D", os.path.join(self._folder, "data"), "-U", SYSTEM_USER]
        options = ["-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            _as_user([*command, *options]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self._folder,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError("initdb failed: " + done.stdout[-1000:])

    def _start(self, core: int | None, connections: int) -> Child:
        options = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self._folder,
            "max_connections": connections,
        }  # fmt: skip
        command = [find_program("postgres") or "postgres", "-D", os.path.join(self._folder, "data")]
        settings = ["--%s=%s" % pair for pair in options.items()]
        return Child("postgres", _as_user([*command, *settings]), core=core)

    def _ping(self) -> None:
        self.ask("SELECT 1")

    @staticmethod
    def _get_driver() -> Any:
        import psycopg

        return psycopg


def _as_user(command: Sequence[str]) -> list[str]:
    """Return a command that runs as the unprivileged user, if this process is root's. It ends with this process."""
    if os.getuid() != 0:
        return list(command)
    who = ["--reuid=" + SYSTEM_USER, "--regid=" + SYSTEM_USER, "--clear-groups", "--pdeathsig=QUIT"]
    return ["setpriv", *who, "--", *command]
