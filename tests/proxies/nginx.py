"""nginx: Debian's own configuration, the same with compression of all types, and deploy/nginx.conf."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.harness import servers
from tests.proxies.proxy import CERTIFICATE, TIMEOUT, UPSTREAM, Proxy, Setup, sample

LOW = f"proxy_read_timeout {TIMEOUT:g}s;"


class Nginx(servers.Nginx):
    def reload(self) -> None:
        before = self.worker_pids()
        self.signal(signal.SIGHUP)
        Proxy.replaced(self, before)  # type: ignore[arg-type]


def bare(conf: str = ""):
    return lambda upstream, pem: Nginx(upstream, LOW + conf)


def deployed(upstream: int, pem: Path) -> Nginx:
    changes = {
        CERTIFICATE: str(pem),
        UPSTREAM: "127.0.0.1:UPSTREAM_PORT",
        "listen 443": "listen 127.0.0.1:LISTEN_PORT",
        "/run/nginx.pid": "FOLDER/nginx.pid",
        "/var/log/nginx/": "FOLDER/",
        "proxy_read_timeout 120s;": LOW,
        "worker_shutdown_timeout 10m;": "worker_shutdown_timeout 1s;",
    }
    return Nginx(upstream, text=sample("nginx.conf", changes))


SETUPS = [
    Setup("nginx", "bare", bare(), old="held back", holds=300),
    Setup("nginx", "bare, `gzip_types *`", bare("gzip_types *;"), old="held back", holds=300),
    Setup("nginx", "`deploy/nginx.conf`", deployed, tls=True, reload="cut", old="held back"),
]
