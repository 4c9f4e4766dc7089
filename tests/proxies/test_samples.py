"""The samples of deploy/ as they stand: each program's own check accepts them, and says no to a line that is nonsense.

Replaced is only what must exist on the machine that checks: the certificate, gunicorn, and the folders of logs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.harness.packages import need
from tests.harness.servers import ROOT
from tests.proxies.apache import SAMPLE_MODULES, Apache
from tests.proxies.proxy import CERTIFICATE, DEPLOY, sample


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


CHECKS = {
    "nginx.conf": (nginx, {"/var/log/nginx/": "FOLDER/", "/run/nginx.pid": "FOLDER/pid", CERTIFICATE: "PEM"}),
    "haproxy.cfg": (haproxy, {CERTIFICATE: "PEM"}),
    "Caddyfile": (caddy, {}),
    "varnish.vcl": (varnish, {}),
    "squid.conf": (squid, {}),
    "app.service": (systemd, {"/srv/app/.venv/bin/gunicorn": "/bin/true"}),
}


def run(command: list[str], env=None) -> tuple[int, str]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, env=env)
    return done.returncode, done.stdout.decode(errors="replace")


@pytest.mark.parametrize("name", CHECKS)
def test_its_program_accepts_it(name, tmp_path, pem):
    check, changes = CHECKS[name]
    text = sample(name, changes).replace("FOLDER", str(tmp_path)).replace("PEM", str(pem))
    file = tmp_path / name
    file.write_text(text)
    code, output = run(check(file))
    assert code == 0, output
    file.write_text(text + "\nnonsense here\n" if name != "app.service" else text.replace("/bin/true", "/bin/nonsense"))
    code, output = run(check(file))
    assert code != 0 or "FATAL" in output or "ERROR" in output, f"accepts nonsense: {output}"


def test_apache_accepts_it(pem):
    for text, accepted in ((sample("apache.conf", {CERTIFICATE: "PEM"}), True), ("nonsense here\n", False)):
        server = Apache(8000, pem, text, SAMPLE_MODULES)
        code, output = run([*server.command(), "-t"], server.env)
        assert (code == 0) == accepted, output


def test_each_sample_is_in_the_readme_and_in_a_test():
    files = {path.name for path in DEPLOY.iterdir()} - {"README.md"}
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert not [name for name in files if f"| `{name}` |" not in readme]
    assert files == {*CHECKS, "apache.conf", "Procfile", "kubernetes.yaml"}


def test_the_time_outs_are_the_clients():
    """Where a sample sets one, it is what clients wait: SSEMUX_CLIENT_TIMEOUT."""
    from flask_ssemux import options

    default = next(row for row in options.table() if row[0] == "SSEMUX_CLIENT_TIMEOUT")[1]
    assert default == "120 s"
    for name in ("nginx.conf", "apache.conf", "haproxy.cfg", "squid.conf", "kubernetes.yaml"):
        assert "120" in (ROOT / "deploy" / name).read_text(encoding="utf-8"), name
