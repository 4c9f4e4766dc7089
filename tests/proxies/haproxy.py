"""HAProxy: Debian's defaults with one backend, the same with compression, and deploy/haproxy.cfg."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.proxies.proxy import CERTIFICATE, TIMEOUT, UPSTREAM, Proxy, Setup, sample

BARE = """
defaults
    mode http
    timeout connect 5000
    timeout client %d
    timeout server %d
    %%s
frontend http
    bind 127.0.0.1:LISTEN_PORT
    default_backend app
backend app
    server gunicorn 127.0.0.1:UPSTREAM_PORT
""" % (TIMEOUT * 1000, TIMEOUT * 1000)


class HAProxy(Proxy):
    name = "haproxy"
    package = "haproxy"
    program = "/usr/sbin/haproxy"
    config_name = "haproxy.cfg"

    def command(self) -> list[str]:
        return [self.program, "-W", "-f", str(self.config)]

    def reload(self) -> None:
        before = self.worker_pids()
        self.signal(signal.SIGUSR2)
        self.replaced(before)


def bare(conf: str = ""):
    return lambda upstream, pem: HAProxy(upstream, pem, BARE % conf)


def deployed(upstream: int, pem: Path) -> HAProxy:
    changes = {
        CERTIFICATE: "PEM",
        UPSTREAM: "127.0.0.1:UPSTREAM_PORT",
        "bind :443": "bind 127.0.0.1:LISTEN_PORT",
        "timeout client 120s": f"timeout client {TIMEOUT:g}s",
        "timeout server 120s": f"timeout server {TIMEOUT:g}s",
        "hard-stop-after 10m": "hard-stop-after 1s",
    }
    return HAProxy(upstream, pem, sample("haproxy.cfg", changes))


SETUPS = [
    Setup("HAProxy", "bare", bare(), departure="at a write"),
    Setup("HAProxy", "bare, `compression algo gzip`", bare("compression algo gzip"), departure="at a write"),
    Setup("HAProxy", "`deploy/haproxy.cfg`", deployed, tls=True, reload="cut"),
]
