"""Real PostgreSQL servers, and PgBouncer, as context managers, in addition to those of servers.py.

Each has a free port of its own on 127.0.0.1 and keeps its data in the folder of the tests' logs. PostgreSQL refuses to
run as root, so root starts it as the user of Debian's package. The tests query the servers through psycopg, not through
a broker's code.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Sequence

from tests.harness.packages import need, need_python
from tests.harness.servers import Server, children, log_folder, started
from tests.harness.waiting import until

#: The user that owns the servers' files, and the one that the tests log in as.
SYSTEM_USER, USER, PASSWORD = "postgres", "tests", "s3cret"

#: What each server begins with: the role that the tests log in as, which may make schemas and no more. One line each.
ROLE = f"""SET password_encryption = 'scram-sha-256'
CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'
GRANT CREATE ON DATABASE postgres TO {USER}
"""

#: The maximum that a statement of the tests may take, in seconds.
ASK_SECONDS = 10

_template: Path | None = None


def find_program(name: str) -> str:
    """Return the program of this name: in the folder that POSTGRES_PROGRAMS names, or the newest that is installed.
    Debian keeps a folder for each version."""
    chosen = os.path.join(os.environ.get("POSTGRES_PROGRAMS", ""), name)
    if os.path.isabs(chosen) and os.path.exists(chosen):
        return chosen
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    return str(found[-1]) if found else need("postgresql", name)


def as_user(command: Sequence[str]) -> list[str]:
    """Return a command that runs as the unprivileged user, if the tests are root's."""
    if os.getuid() != 0:
        return list(command)
    return ["setpriv", f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--clear-groups", "--", *command]


def make_folder(name: str) -> Path:
    folder = log_folder() / name
    folder.mkdir()
    if os.getuid() == 0:
        shutil.chown(folder, SYSTEM_USER, SYSTEM_USER)
    folder.chmod(0o700)
    return folder


def make_template() -> Path:
    """Return a folder with a new database cluster, made once: each server starts from a copy."""
    global _template
    if _template is None:
        folder = make_folder("postgres-template")
        command = [find_program("initdb"), "-D", str(folder / "data"), "-U", SYSTEM_USER, "-A", "trust", "-E", "UTF8"]
        run_program([*command, "--locale=C", "--no-sync"])
        run_program([find_program("postgres"), "--single", "-D", str(folder / "data"), "postgres"], ROLE)
        _template = folder / "data"
    return _template


def run_program(command: Sequence[str], words: str = "") -> None:
    """Run a program to its end as the unprivileged user.

    :param words: its standard input.
    """
    done = subprocess.run(as_user(command), input=words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and "ERROR" not in done.stdout, done.stdout


class PostgresServer(Server):
    """`postgres`, with a role `tests` that may make schemas and no more.

    A server with `is_fast` does not wait for its disk, and may lose everything with its machine, but not when it is
    killed. `settings` are those of its configuration file.
    """

    name = "postgres"

    def __init__(self, is_fast: bool = True, data: Path | None = None, **settings: Any) -> None:
        self.program = find_program("postgres")
        super().__init__()
        self.folder = make_folder(f"{self.name}-{self.port}")
        self.data = self.folder / "data"
        self._copy_data(data or make_template())
        common = {
            "listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": str(self.folder),
            "fsync": "off" if is_fast else "on", "max_connections": 200, "shared_buffers": "32MB",
            "max_prepared_transactions": 10,
        }  # fmt: skip
        self.settings = {**common, **settings}
        self.hba = ["local all all trust", "local replication all trust", "host all all 127.0.0.1/32 scram-sha-256"]

    def _copy_data(self, source: Path) -> None:
        subprocess.run(as_user(["cp", "-a", str(source), str(self.data)]), check=True)

    def command(self) -> list[str]:
        hba = self.folder / "hba.conf"
        hba.write_text("\n".join(self.hba) + "\n")
        hba.chmod(0o644)
        options = {**self.settings, "hba_file": str(hba)}
        return as_user([self.program, "-D", str(self.data), *(f"--{name}={value}" for name, value in options.items())])

    def ready(self) -> bool:
        try:
            return bool(self.ask("SELECT 1"))
        except need_python("psycopg[binary]", "psycopg").OperationalError:
            return False

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def ask(self, statement: str, *values: Any, user: str = SYSTEM_USER) -> list[tuple[Any, ...]]:
        """Run one statement on a connection of its own, as the superuser; return its rows."""
        psycopg = need_python("psycopg[binary]", "psycopg")
        place = {"host": str(self.folder), "port": self.port, "dbname": "postgres"}
        with psycopg.connect(**place, user=user, autocommit=True, connect_timeout=ASK_SECONDS) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def restart(self) -> Any:
        """Start it again, on its port and with its data. A running server is stopped first."""
        if self.running:
            self.stop()
        started.remove(self)
        return self.start()

    def stop(self, timeout: float = 10.0) -> bool:
        """End it cleanly, with its connections: SIGINT, as SIGTERM would wait for them. Return whether it ended so."""
        self.signal(signal.SIGINT)
        try:
            self.wait(timeout)
            return True
        finally:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL to all its processes: each of them has a group of its own."""
        pids = children(self.pid) if self.running else []
        if self._process is not None and self.running:
            self.signal(signal.SIGSTOP)  # or it would start others in place of those that are killed first
            pids = children(self.pid)
        super().kill()
        _signal_all(pids, signal.SIGKILL)
        until(lambda: not any(_runs(pid) for pid in pids), 10, f"all processes of {self.name} ended")

    def pause(self) -> None:
        """Make it hang (SIGSTOP): connections stay, answers do not come."""
        _signal_all([self.pid, *children(self.pid)], signal.SIGSTOP)

    def resume(self) -> None:
        _signal_all([self.pid, *children(self.pid)], signal.SIGCONT)

    def make_replica(self) -> PostgresServer:
        """Return a replica that is to be started. This server has `wal_level=replica`."""
        data = self.folder / "replica"
        command = [find_program("pg_basebackup"), "-h", str(self.folder), "-p", str(self.port), "-U", SYSTEM_USER]
        run_program([*command, "-D", str(data), "-R", "-X", "stream", "-c", "fast"])
        return PostgresServer(data=data)

    def wait_replayed(self, other: PostgresServer) -> None:
        """Wait until this replica has all that the other server has written."""
        ((written,),) = other.ask("SELECT pg_current_wal_lsn()::text")
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        until(lambda: self.ask(replayed, written)[0][0], 20, "the replica has not all of it")

    def stop_following(self) -> None:
        """Make this replica receive nothing any more."""
        self.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.ask("SELECT pg_reload_conf()")
        until(lambda: not self.ask("SELECT FROM pg_stat_wal_receiver"), 20, "it still follows")

    def promote(self) -> None:
        self.ask("SELECT pg_promote()")

    def wipe(self) -> None:
        """Delete all that it has kept on disk."""
        assert not self.running, f"{self.name} on port {self.port} runs: its data cannot be wiped under it"
        shutil.rmtree(self.data)
        self._copy_data(make_template())

    def empty(self) -> None:
        """Drop the tables of the default schema, while it runs."""
        self.ask("DROP SCHEMA ssemux CASCADE")

    def count_connections(self, user: str = USER) -> int:
        return int(self.ask("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", user)[0][0])


class PgBouncer(Server):
    """`pgbouncer` in front of a server, in the mode `transaction` or `session`."""

    name = "pgbouncer"

    def __init__(self, server: PostgresServer, mode: str = "transaction") -> None:
        self.program = need("pgbouncer", "pgbouncer")
        super().__init__()
        self.folder = make_folder(f"{self.name}-{self.port}")
        config = self.folder / "pgbouncer.ini"
        users = self.folder / "users.txt"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        config.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {self.port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {users}\n"
            f"pool_mode = {mode}\ndefault_pool_size = 5\nserver_login_retry = 1\n"
        )
        for file in (config, users):
            file.chmod(0o644)
        self.config = config

    def command(self) -> list[str]:
        return as_user([self.program, str(self.config)])

    def ready(self) -> bool:
        psycopg = need_python("psycopg[binary]", "psycopg")
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        except psycopg.OperationalError:
            return False

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to these processes. One of a connection may end meanwhile."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
