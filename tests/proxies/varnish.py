"""Varnish: its built-in VCL with one backend, and deploy/varnish.vcl."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.harness.packages import need
from tests.harness.servers import listens
from tests.harness.waiting import until
from tests.proxies.proxy import TIMEOUT, Proxy, Setup, sample

BARE = """
vcl 4.1;
backend default { .host = "127.0.0.1"; .port = "UPSTREAM_PORT"; }
"""


class Varnish(Proxy):
    name = "varnish"
    package = "varnish"
    program = "/usr/sbin/varnishd"
    config_name = "default.vcl"

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.admin = need("varnish", "varnishadm")
        self.loads = 0

    def command(self) -> list[str]:
        low = [part for name in ("between_bytes_timeout", "pipe_timeout") for part in ("-p", f"{name}={TIMEOUT:g}")]
        listen = ["-a", f"127.0.0.1:{self.port}", "-T", "localhost:0"]
        return [self.program, "-F", "-n", str(self.folder / "work"), *listen, "-f", str(self.config), *low]

    def kill(self) -> None:
        """Kill its worker too, which is in a group of its own and would keep the port for some seconds."""
        workers = self.worker_pids() if self.running else []
        super().kill()
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        until(lambda: not listens(self.port), 5, "varnishd listens on")

    def reload(self) -> None:
        self.loads += 1
        name = f"again{self.loads}"
        for words in (["vcl.load", name, str(self.config)], ["vcl.use", name]):
            command = [self.admin, "-n", str(self.folder / "work"), *words]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
            assert done.returncode == 0, done.stdout.decode()


def bare(upstream: int, pem: Path) -> Varnish:
    return Varnish(upstream, pem, BARE)


def deployed(upstream: int, pem: Path) -> Varnish:
    return Varnish(upstream, pem, sample("varnish.vcl", {'"8000"': '"UPSTREAM_PORT"'}))


SETUPS = [
    Setup("Varnish", "bare", bare, departure="at a write", old="shared"),
    Setup("Varnish", "`deploy/varnish.vcl`", deployed),
]
