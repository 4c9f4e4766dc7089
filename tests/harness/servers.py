"""Real servers as context managers: gunicorn, `flask run` and nginx, each on a free port of 127.0.0.1.

Each runs in a process group of its own, writes one log file, and is killed with its group however the tests end: a
reaper process has the list of groups, and kills them and removes the logs when its pipe to the tests closes.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping, Sequence

from tests.harness.packages import need
from tests.harness.ports import free_port
from tests.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 20.0

#: How long processes take to end after SIGKILL, on a busy machine.
KILL_SECONDS = 20
STOP_SECONDS = 2.0

REAPER = """
import os, shutil, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass
shutil.rmtree(sys.argv[1], ignore_errors=True)
"""

started: list[Server] = []
"""Servers whose logs a failing test shows; see `forget_stopped`."""

_reaper: subprocess.Popen | None = None
_logs: Path | None = None


def forget_stopped() -> None:
    """Forget the servers that stopped before a new test begins: their logs say nothing about it."""
    started[:] = [server for server in started if server.running]


def _is_group_running(group: int) -> bool:
    """Return whether a process group has processes; dead ones that nobody has waited for do not count."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return any(_is_running_in(path, group) for path in Path("/proc").glob("[0-9]*/stat"))


def _is_running_in(path: Path, group: int) -> bool:
    try:
        state, _, its_group = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:3]
    except OSError:  # it has ended meanwhile
        return False
    return int(its_group) == group and state not in "ZX"


class Server:
    """A server process and its children. Subclasses define the command and when the server is ready."""

    name = "server"

    def __init__(self, env: Mapping[str, str | None] | None = None, cwd: Any = ROOT) -> None:
        self.port = free_port()
        self.env = environment(env or {})
        self.cwd = str(cwd)
        self.log_path = log_folder() / f"{self.name}-{self.port}.log"
        self._process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        raise NotImplementedError

    def failed(self) -> bool:
        """Return whether it will never become ready."""
        return not self.running

    def start(self) -> Server:
        self.launch()
        return self.wait_ready()

    def launch(self) -> None:
        """Start the process; `wait_ready` must follow. Several servers can be started at once this way."""
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _tell_reaper("+", self.pid)
        started.append(self)

    def wait_ready(self) -> Server:
        try:
            until(
                lambda: self.failed() or self.ready(), START_SECONDS, lambda: f"{self.name} is ready; {self._state()}"
            )
            assert not self.failed(), f"{self.name} failed to start; {self._state()}"
        except BaseException:
            self.kill()
            raise
        return self

    @property
    def pid(self) -> int:
        """The id of the process that was started: gunicorn's or nginx's master."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        return self._process.poll() if self._process else None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.splitlines()[-lines:])

    def wait_log(self, pattern: str, timeout: float) -> re.Match[str]:
        return until(
            lambda: re.search(pattern, self.log),
            timeout,
            lambda: f"{pattern!r} in {self.name}'s log:\n{self.log_tail()}",
        )

    def worker_pids(self) -> list[int]:
        return children(self.pid)

    def signal(self, number: int) -> None:
        """Send a signal to the first process only."""
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> int:
        """Wait until the server has ended by itself or by a signal; return the exit status."""
        assert self._process is not None
        until(lambda: not self.running, timeout, lambda: f"{self.name} ended; {self._state()}")
        return self._process.returncode

    def stop(self, timeout: float = STOP_SECONDS) -> bool:
        """Send SIGTERM, and after `timeout` SIGKILL to the group. Return whether SIGTERM was enough."""
        if not self.running:
            self.kill()
            return True
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)  # type: ignore[union-attr]
            return True
        except subprocess.TimeoutExpired:
            return False
        finally:
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL to all its processes, and wait until all are gone: the last one may have the port."""
        if self._process is None:
            return
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        until(lambda: not _is_group_running(self.pid), KILL_SECONDS, lambda: f"{self.name} is gone after SIGKILL")
        _tell_reaper("-", self.pid)

    def _state(self) -> str:
        state = "it is running" if self.running else f"it ended with {self.returncode}"
        return f"{state}; its log:\n{self.log_tail()}"

    def __enter__(self) -> Any:
        return self.start()

    def __exit__(self, *_: Any) -> None:
        """Kill at once: gunicorn takes a second or more for a graceful end. Use `stop` where the end matters."""
        self.kill()


class Gunicorn(Server):
    """`gunicorn -k gevent app`, or with `config` a configuration file that sets its own worker class.

    `workers=None` leaves the number of workers to the configuration too. It is ready when all its workers wait for
    connections, so that a late worker is not left out of a test. `python` serves from another virtual environment.
    """

    name = "gunicorn"

    def __init__(
        self,
        app: str,
        workers: int | None = 1,
        config: str | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str | None] | None = None,
        cwd: Any = ROOT,
        python: str = sys.executable,
    ) -> None:
        super().__init__(env, cwd)
        self.app, self.workers, self.python = app, workers, python
        self.options = ["-c", str(config)] if config else ["-k", "gevent"]
        self.options += [] if workers is None else ["-w", str(workers)]
        self.options += args
        runtime = log_folder() / f"gunicorn-{self.port}"  # gunicorn 25 and later put one control socket per user there
        runtime.mkdir()
        self.env["XDG_RUNTIME_DIR"] = str(runtime)

    def command(self) -> list[str]:
        return [self.python, "-m", "gunicorn", "-b", f"127.0.0.1:{self.port}", *self.options, self.app]

    def ready(self) -> bool:
        if "sync" in self.options or "LIBEV_FLAGS" in self.env:  # the kernel shows only what an epoll watches
            return answers(self.port)
        workers = self.worker_pids()
        return len(workers) >= (self.workers or 1) and all(accepts(pid, self.port) for pid in workers)

    def failed(self) -> bool:
        """Read the log: gunicorn 20 often survives, because its gevent catches the exception that should end it."""
        return super().failed() or "Worker failed to boot" in self.log

    def worker_pids(self) -> list[int]:
        """Return the workers without helpers of the master such as gunicorn's control process or a resource tracker."""
        known = {int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.log)}
        return [pid for pid in children(self.pid) if pid in known]

    def wait_workers(self, count: int, timeout: float, gone: Sequence[int] = ()) -> list[int]:
        """Wait until `count` workers accept connections and none of `gone` is alive; return their process ids."""

        def there() -> list[int]:
            pids = self.worker_pids()
            fit = len(pids) == count and not set(gone) & set(pids) and all(accepts(pid, self.port) for pid in pids)
            return pids if fit else []

        return until(there, timeout, lambda: f"{count} workers, not {list(gone)}: there are {self.worker_pids()}")


class FlaskRun(Server):
    """The `flask run` command: Werkzeug's server, a thread for each request, nothing monkey-patched."""

    name = "flask-run"

    def __init__(
        self,
        app: str,
        env: Mapping[str, str | None] | None = None,
        args: Sequence[str] = (),
        cwd: Any = ROOT,
        python: str = sys.executable,
    ) -> None:
        super().__init__({"FLASK_APP": app, "FLASK_ENV": "production", "FLASK_DEBUG": "0", **(env or {})}, cwd)
        self.args, self.python = args, python

    def command(self) -> list[str]:
        return [self.python, "-m", "flask", "run", "--host", "127.0.0.1", "--port", str(self.port), *self.args]

    def ready(self) -> bool:
        return answers(self.port)


class Nginx(Server):
    """nginx as Debian configures it, with the usual single `proxy_pass` and nothing about SSE.

    `conf` is put into its `location /`. `server` replaces the whole server block, or several, and `text` the whole
    file; they may contain LISTEN_PORT, UPSTREAM_PORT and FOLDER (a scratch folder that is deleted with the server's
    log).
    """

    name = "nginx"

    DEBIAN = """
user USER;
worker_processes auto;
pid FOLDER/nginx.pid;
error_log stderr;
events { worker_connections WORKER_CONNECTIONS; }
http {
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log FOLDER/access.log;
    gzip on;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
SERVER
}
"""
    PLAIN = """
    server {
        listen 127.0.0.1:LISTEN_PORT;
        location / {
            proxy_pass http://127.0.0.1:UPSTREAM_PORT;
CONF
        }
    }
"""

    def __init__(
        self,
        upstream_port: int,
        conf: str = "",
        server: str | None = None,
        worker_connections: int = 768,
        text: str | None = None,
    ) -> None:
        self.program = need("nginx", "/usr/sbin/nginx")
        super().__init__()
        self.folder = log_folder() / f"nginx-{self.port}"
        self.folder.mkdir(mode=0o755)
        text = text or self.DEBIAN.replace("SERVER", server or self.PLAIN.replace("CONF", conf))
        if os.getuid() != 0:
            text = text.replace("user USER;\n", "")
        for word, value in {
            "USER": "www-data",
            "LISTEN_PORT": self.port,
            "UPSTREAM_PORT": upstream_port,
            "WORKER_CONNECTIONS": worker_connections,
            "FOLDER": self.folder,
        }.items():
            text = re.sub(rf"\b{word}\b", str(value), text)
        (self.folder / "nginx.conf").write_text(text)

    def command(self) -> list[str]:
        config = str(self.folder / "nginx.conf")
        return [self.program, "-e", "stderr", "-p", str(self.folder), "-c", config, "-g", "daemon off;"]

    def ready(self) -> bool:
        return listens(self.port)

    @property
    def access_log(self) -> str:
        return (self.folder / "access.log").read_text(errors="replace")


def environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return this process's environment without settings of the library, with `changes` (None removes)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SSEMUX_", "FLASK_", "GUNICORN_"))}
    env.update(PYTHONUNBUFFERED="1", PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")])))
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = str(value)
    return env


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def answers(port: int, path: str = "/") -> bool:
    """Return whether an HTTP answer comes, whatever its status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def children(pid: int) -> list[int]:
    """Return the children of a process, whichever of its threads started them: Firefox has a thread for that."""
    found: list[int] = []
    try:
        for thread in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in thread.read_text().split()]
    except OSError:  # it has ended, or one of its threads has
        pass
    return found


def accepts(pid: int, port: int) -> bool:
    """Return whether the event loop of process `pid` watches the socket that listens on `port`.

    The kernel lists what an `epoll` watches. A request would not be enough, because it reaches only one worker.
    """
    inode = _listener_inode(port)
    try:
        for fdinfo in Path(f"/proc/{pid}/fdinfo").iterdir():
            for watched in re.findall(r"^tfd:\s+(\d+)", fdinfo.read_text(), re.M):
                if os.readlink(f"/proc/{pid}/fd/{watched}") == f"socket:[{inode}]":
                    return True
    except OSError:  # it has ended, or has closed the file
        pass
    return False


def _listener_inode(port: int) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "0A":
            return fields[9]
    return None


def log_folder() -> Path:
    global _logs
    if _logs is None:
        _logs = Path(tempfile.mkdtemp(prefix="ssemux-tests-"))
        _logs.chmod(0o755)  # nginx's workers run as another user
    return _logs


def _tell_reaper(sign: str, group: int) -> None:
    global _reaper
    if _reaper is None:
        _reaper = subprocess.Popen(
            [sys.executable, "-SEc", REAPER, str(log_folder())],
            stdin=subprocess.PIPE,
            start_new_session=True,
            universal_newlines=True,
        )
    _reaper.stdin.write(f"{sign}{group}\n")  # type: ignore[union-attr]
    _reaper.stdin.flush()  # type: ignore[union-attr]
