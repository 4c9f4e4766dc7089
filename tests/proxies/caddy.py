"""Caddy: one reverse_proxy, one with encode, and deploy/Caddyfile."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.proxies.proxy import NAME, UPSTREAM, Proxy, Setup, sample

OWN = "admin unix//FOLDER/admin.sock"
BARE = (
    """
{
    %s
}
http://127.0.0.1:LISTEN_PORT, http://app.example.com:LISTEN_PORT {
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:UPSTREAM_PORT
    %%s
}
"""
    % OWN
)


class Caddy(Proxy):
    name = "caddy"
    package = "caddy"
    program = "/usr/bin/caddy"
    config_name = "Caddyfile"

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.env.update(XDG_DATA_HOME=str(self.folder), XDG_CONFIG_HOME=str(self.folder), HOME=str(self.folder))

    def command(self) -> list[str]:
        return [self.program, "run", "--config", str(self.config), "--adapter", "caddyfile"]

    def reload(self) -> None:
        self.config.write_text(self.config.read_text() + "\n# changed\n")
        command = [self.program, "reload", "--force", "--config", str(self.config), "--adapter", "caddyfile"]
        command += ["--address", f"unix/{self.folder}/admin.sock"]
        done = subprocess.run(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        assert done.returncode == 0, done.stdout.decode()


def bare(conf: str = ""):
    return lambda upstream, pem: Caddy(upstream, pem, BARE % conf)


def deployed(upstream: int, pem: Path) -> Caddy:
    changes = {
        f"{NAME} {{": f"https://{NAME}:LISTEN_PORT {{\n\tbind 127.0.0.1\n\ttls PEM PEM",
        UPSTREAM: "127.0.0.1:UPSTREAM_PORT",
        "grace_period 10s": f"grace_period 1s\n\tauto_https disable_redirects\n\t{OWN}",
    }
    return Caddy(upstream, pem, sample("Caddyfile", changes))


SETUPS = [
    Setup("Caddy", "bare", bare(), times_out=False),
    Setup("Caddy", "bare, `encode gzip`", bare("encode gzip"), times_out=False),
    Setup("Caddy", "`deploy/Caddyfile`", deployed, tls=True, times_out=False),
]
