"""The samples of deploy/ as they are: each program's own check accepts them, and refuses a nonsensical line.

Only what must exist on the checking machine is replaced: the certificate, gunicorn, and the folders of logs.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from flask_ssemux import options
from tests.harness.packages import need
from tests.harness.servers import log_folder
from tests.proxies.apache import SAMPLE_MODULES, Apache
from tests.proxies.proxy import CERTIFICATE, DEPLOY, fill, sample


def nginx(file: Path) -> list[str]:
    return [need("nginx", "/usr/sbin/nginx"), "-t", "-c", str(file)]


def haproxy(file: Path) -> list[str]:
    return [need("haproxy", "/usr/sbin/haproxy"), "-c", "-f", str(file)]


def caddy(file: Path) -> list[str]:
    return [need("caddy", "/usr/bin/caddy"), "validate", "--adapter", "caddyfile", "--config", str(file)]


def varnish(file: Path) -> list[str]:
    return [need("varnish", "/usr/sbin/varnishd"), "-C", "-f", str(file)]


def squid(file: Path) -> list[str]:
    return [need("squid", "/usr/sbin/squid"), "-k", "parse", "-f", str(file)]


def systemd(file: Path) -> list[str]:
    return [need("systemd", "systemd-analyze"), "verify", str(file)]


#: By file: its check, what is replaced, and a misspelling that the check must find.
CHECKS = {
    "nginx.conf": (nginx, {"/var/log/nginx/": "FOLDER/", "/run/nginx.pid": "FOLDER/pid", CERTIFICATE: "PEM"}, "listen"),
    "haproxy.cfg": (haproxy, {CERTIFICATE: "PEM"}, "bind"),
    "Caddyfile": (caddy, {}, "reverse_proxy"),
    "varnish.vcl": (varnish, {}, "backend"),
    "squid.conf": (squid, {}, "cache_peer"),
    "app.service": (systemd, {"/srv/app/.venv/bin/gunicorn": "/bin/true"}, "/bin/true"),
}


def run(command: list[str], env=None) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, env=env)
    return done.returncode, done.stdout.decode(errors="replace")


@pytest.mark.parametrize("name", CHECKS)
def test_its_program_accepts_it(name, pem):
    check, changes, word = CHECKS[name]
    folder = Path(tempfile.mkdtemp(dir=str(log_folder())))
    folder.chmod(0o755)  # varnishd reads it as another user
    file = folder / name
    text = fill(sample(name, changes), {"FOLDER": folder, "PEM": pem})
    assert word in text
    for content, accepted in ((text, True), (re.sub(rf"(?m)^([^#\n]*){word}\b", rf"\1{word}x", text), False)):
        file.write_text(content)
        code, output = run(check(file))
        assert (code == 0) == accepted, output


def test_apache_accepts_it(pem):
    for text, accepted in ((sample("apache.conf", {CERTIFICATE: "PEM"}), True), ("nonsense here\n", False)):
        server = Apache(8000, pem, text, SAMPLE_MODULES)
        code, output = run([*server.command(), "-t"], server.env)
        assert (code == 0) == accepted, output


def test_each_sample_is_in_the_readme_and_in_a_test():
    files = {path.name for path in DEPLOY.iterdir()} - {"README.md"}
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert not [name for name in files if f"| `{name}` |" not in readme]
    elsewhere = {"apache.conf", "Procfile", "kubernetes.yaml", "compose-nginx.conf"}
    assert files == {*CHECKS, *elsewhere, "prometheus-alerts.yml", "grafana-dashboard.json"}


#: The lines that set a sample's time-out for silence.
TIMEOUTS = {
    "nginx.conf": r"proxy_read_timeout (\d+)s;",
    "compose-nginx.conf": r"proxy_read_timeout (\d+)s;",
    "apache.conf": r" timeout=(\d+) ",
    "haproxy.cfg": r"timeout (?:client|server) (\d+)s",
    "squid.conf": r"read_timeout (\d+) seconds",
    "kubernetes.yaml": r'proxy-read-timeout: "(\d+)"',
}


@pytest.mark.parametrize("name", TIMEOUTS)
def test_the_time_out_for_silence_is_the_clients(name):
    client_timeout = next(default for option, default, _ in options.list_options() if option == "SSEMUX_CLIENT_TIMEOUT")
    found = set(re.findall(TIMEOUTS[name], (DEPLOY / name).read_text(encoding="utf-8")))
    assert {f"{seconds} s" for seconds in found} == {client_timeout}
