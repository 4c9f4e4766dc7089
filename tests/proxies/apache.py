"""Apache: Debian's own configuration with a ProxyPass, with mod_deflate for all types, and deploy/apache.conf."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from tests.proxies.proxy import CERTIFICATE, TIMEOUT, UPSTREAM, Proxy, Setup, make_away_file, sample

#: The modules that Debian enables in a new installation, and those that proxying needs.
MODULES = [
    *("access_compat", "alias", "auth_basic", "authn_core", "authn_file", "authz_core", "authz_host", "authz_user"),
    *("autoindex", "deflate", "dir", "env", "filter", "mime", "mpm_event", "negotiation", "reqtimeout", "setenvif"),
    *("status", "proxy", "proxy_http"),
]

#: The modules that deploy/apache.conf needs in addition.
SAMPLE_MODULES = ("ssl", "socache_shmcb", "http2", "headers", "asis")

#: The sample's answer to a stream's request while gunicorn is away.
AWAY = "/etc/apache2/away.asis"

BARE = (
    """
Timeout %g
<VirtualHost *:LISTEN_PORT>
    ProxyPass / http://127.0.0.1:UPSTREAM_PORT/
    %%s
</VirtualHost>
"""
    % TIMEOUT
)


class Apache(Proxy):
    """A copy of /etc/apache2 with these modules and one site, whose configuration is the text."""

    name = "apache"
    package = "apache2"
    program = "/usr/sbin/apache2"
    config_name = "app.conf"

    def __init__(self, upstream_port: int, pem: Path, text: str, modules: tuple[str, ...] = ()) -> None:
        super().__init__(upstream_port, pem, text)
        self.root = self.folder / "etc"
        shutil.copytree("/etc/apache2", self.root, symlinks=True)
        for folder in ("mods-enabled", "sites-enabled", "conf-enabled"):
            for link in (self.root / folder).iterdir():
                link.unlink()
        for name in [*MODULES, *modules]:
            for file in (self.root / "mods-available").glob(f"{name}.*"):
                (self.root / "mods-enabled" / file.name).symlink_to(file)
        (self.root / "sites-enabled" / "app.conf").symlink_to(self.config)
        (self.root / "ports.conf").write_text(f"Listen 127.0.0.1:{self.port}\nServerName app.example.com\n")
        self.env.update(
            APACHE_RUN_USER="www-data" if os.getuid() == 0 else "",
            APACHE_RUN_GROUP="www-data",
            APACHE_PID_FILE=str(self.folder / "pid"),
            APACHE_RUN_DIR=str(self.folder),
            APACHE_LOCK_DIR=str(self.folder),
            APACHE_LOG_DIR=str(self.folder),
        )

    def command(self) -> list[str]:
        return [self.program, "-d", str(self.root), "-f", str(self.root / "apache2.conf"), "-DFOREGROUND"]

    def reload(self) -> None:
        before = self.worker_pids()
        self.signal(signal.SIGUSR1)
        self.replaced(before)


def bare(conf: str = ""):
    return lambda upstream, pem: Apache(upstream, pem, BARE % conf)


class DeployedApache(Apache):
    """Apache with the file that the sample's first lines describe."""

    def __init__(self, upstream_port: int, pem: Path, text: str) -> None:
        super().__init__(upstream_port, pem, text, SAMPLE_MODULES)
        make_away_file(self.config)


def deployed(upstream: int, pem: Path) -> Apache:
    changes = {
        AWAY: "FOLDER/away.asis",
        CERTIFICATE: "PEM",
        UPSTREAM: "127.0.0.1:UPSTREAM_PORT",
        "*:443": "*:LISTEN_PORT",
        " timeout=120 ": f" timeout={TIMEOUT:g} ",
    }
    return DeployedApache(upstream, pem, sample("apache.conf", changes))


DEFLATE = "SetOutputFilter DEFLATE"

SETUPS = [
    Setup("Apache", "bare", bare(), departure="at a write", holds=100),
    Setup("Apache", f"bare, `{DEFLATE}`", bare(DEFLATE), departure="at a write", holds=100),
    Setup("Apache", "`deploy/apache.conf`", deployed, tls=True, departure="at a write", over_http2=6),
]
