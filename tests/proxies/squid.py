"""Squid as an accelerator: the shortest configuration, and deploy/squid.conf."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.harness.waiting import until
from tests.proxies.proxy import TIMEOUT, Proxy, Setup, make_away_file, sample

OWN = (
    """
pid_filename FOLDER/squid.pid
coredump_dir FOLDER
cache_log FOLDER/cache.log
access_log none
visible_hostname test
read_timeout %g seconds
"""
    % TIMEOUT
)
BARE = """
http_port 127.0.0.1:LISTEN_PORT accel defaultsite=app.example.com
cache_peer 127.0.0.1 parent UPSTREAM_PORT 0 no-query originserver
http_access allow all
"""


#: The sample's answer to a stream's request while gunicorn is away.
AWAY = "/etc/squid/away"


class Squid(Proxy):
    name = "squid"
    package = "squid"
    program = "/usr/sbin/squid"
    config_name = "squid.conf"

    def command(self) -> list[str]:
        return [self.program, "-N", "-n", f"ssemux{self.port}", "-f", str(self.config)]

    @property
    def squid_log(self) -> str:
        path = self.folder / "cache.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def reload(self) -> None:
        before = self.squid_log.count("Reconfiguring Squid Cache")
        self.signal(signal.SIGHUP)
        until(lambda: self.squid_log.count("Reconfiguring Squid Cache") > before, 10, lambda: self.squid_log[-2000:])


class DeployedSquid(Squid):
    """Squid with the file that the sample's first lines describe."""

    def __init__(self, upstream_port: int, pem: Path, text: str) -> None:
        super().__init__(upstream_port, pem, text)
        make_away_file(self.config)


def bare(upstream: int, pem: Path) -> Squid:
    return Squid(upstream, pem, BARE + OWN)


def deployed(upstream: int, pem: Path) -> Squid:
    changes = {
        "http_port 80 ": "http_port 127.0.0.1:LISTEN_PORT ",
        "parent 8000 ": "parent UPSTREAM_PORT ",
        "read_timeout 120 seconds": OWN,
        AWAY: "FOLDER/away",
    }
    return DeployedSquid(upstream, pem, sample("squid.conf", changes))


SETUPS = [
    Setup("Squid", "bare", bare),
    Setup("Squid", "`deploy/squid.conf`", deployed),
]
