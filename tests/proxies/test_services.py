"""How deploy/ starts and stops gunicorn: the exact commands of the systemd unit, the Procfile and Kubernetes."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.harness.servers import ROOT, Server, listens
from tests.proxies.proxy import DEPLOY
from tests.server.conftest import Site

HELLO = b"ssemux.hello"
APP = "from tests.apps.lab import create_app\n"
BIND = '"127.0.0.1:8000"'


class Service(Server):
    """An application's folder as the samples expect it, with app.py and this repository's gunicorn.conf.py."""

    name = "service"

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        super().__init__({"PATH": path, "INSTANCE_PATH": str(folder), "WEB_CONCURRENCY": "2", **env}, cwd=folder)
        (folder / "app.py").write_text(APP)
        config = (ROOT / "gunicorn.conf.py").read_text(encoding="utf-8")
        assert BIND in config
        (folder / "gunicorn.conf.py").write_text(config.replace(BIND, f'"127.0.0.1:{self.port}"'))
        self.words: list[str] = []

    def command(self) -> list[str]:
        return self.words

    def ready(self) -> bool:
        return listens(self.port)


@pytest.fixture
def service(running, tmp_path):
    """service(words_of(port), **env): that command, running in an application's folder."""

    def start(words_of, **env):
        made = Service(tmp_path, env)
        made.words = words_of(made.port)
        return running(made)

    return start


@pytest.fixture(scope="module")
def graceful_timeout():
    """Return the seconds that gunicorn itself reads from gunicorn.conf.py."""
    command = [sys.executable, "-m", "gunicorn", "--print-config", "-c", "gunicorn.conf.py"]
    command += ["tests.apps.lab:create_app()"]
    printed = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, check=True).stdout.decode()
    return int(re.search(r"^graceful_timeout\s*=\s*(\d+)", printed, re.M).group(1))


@contextmanager
def streaming(site: Site, last: str | None = None):
    """Open a stream; a worker that is about to stop sends its clients to another one."""
    for _ in range(100):
        with site.stream(last=last) as stream:
            stream.wait_for(lambda stream: stream.ended or HELLO in stream.body, 5)
            if HELLO in stream.body:
                yield stream
                return
    raise AssertionError("no worker takes a stream")


def stopped_after(server: Server, site: Site, limit: float) -> float:
    """Send SIGTERM to the first process while a stream is open, which must end cleanly. Return how long it took."""
    with streaming(site) as stream:
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        assert stream.wait_end(limit) == "clean"
        assert server.wait(limit) == 0
        return time.monotonic() - started


@pytest.fixture
def unit():
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(DEPLOY / "app.service", encoding="utf-8")
    return parser["Service"]


def test_the_systemd_unit(unit, service, graceful_timeout, tmp_path):
    notify_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify_socket.bind(str(tmp_path / "notify"))
    notify_socket.settimeout(10)
    words = shlex.split(unit["ExecStart"].replace("/srv/app/.venv/bin/gunicorn", f"{sys.executable} -m gunicorn"))
    assert words[0] == sys.executable
    server = service(lambda port: words, NOTIFY_SOCKET=str(tmp_path / "notify"))
    with notify_socket:
        assert b"READY=1" in notify_socket.recv(1000), "Type=notify waits for this"
    site = Site(server)
    with streaming(site) as stream:
        reload = unit["ExecReload"].replace("$MAINPID", str(server.pid))
        subprocess.run(shlex.split(reload), check=True)
        assert stream.wait_end(10) == "clean"
        with streaming(site, last=stream.last_event_id):
            pass
    assert unit["KillMode"] == "mixed"
    assert int(unit["TimeoutStopSec"]) > graceful_timeout
    assert stopped_after(server, site, int(unit["TimeoutStopSec"])) < graceful_timeout / 2


def test_the_procfile(service, redis_url):
    lines = (DEPLOY / "Procfile").read_text(encoding="utf-8").splitlines()
    processes = dict(line.split(": ", 1) for line in lines if not line.startswith("#"))
    assert list(processes) == ["web"]
    server = service(lambda port: ["env", f"PORT={port}", "sh", "-c", processes["web"]], REDIS_URL=redis_url)
    site = Site(server)
    with site.stream("/events?channel=room:1") as stream:
        stream.wait_for(HELLO, 5)
        site.publish("room:1", "through Redis")
        stream.wait_for(b"data: through Redis\n", 5)
    from redis import Redis

    assert Redis.from_url(redis_url.split("?")[0]).keys("*%s*" % redis_url.split("prefix=")[1])
    assert stopped_after(server, site, 30) < 10


@pytest.fixture(scope="module")
def manifest():
    parts = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    return {part["kind"]: part for part in parts}


def test_the_parts_of_the_kubernetes_manifest_fit_together(manifest, graceful_timeout):
    deployment, service, ingress = (manifest[kind] for kind in ("Deployment", "Service", "Ingress"))
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    port = container["ports"][0]["containerPort"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"] == service["spec"]["selector"]
    assert service["spec"]["ports"][0]["targetPort"] == port == container["readinessProbe"]["httpGet"]["port"]
    assert f"0.0.0.0:{port}" in container["command"]
    (rule,) = ingress["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["number"] == service["spec"]["ports"][0]["port"]
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert pod["spec"]["terminationGracePeriodSeconds"] > int(seconds) + graceful_timeout


def test_the_kubernetes_container_serves_and_stops(manifest, service, redis_url):
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert [variable["name"] for variable in container["env"]] == ["SSEMUX_BROKER"]
    words = container["command"]
    server = service(lambda port: [word.replace(":8000", f":{port}") for word in words], SSEMUX_BROKER=redis_url)
    site = Site(server)
    with site.request(container["readinessProbe"]["httpGet"]["path"], {}) as answer:
        answer.wait_headers(5)
        assert 200 <= answer.status < 400
    _, before = container["lifecycle"]["preStop"]["exec"]["command"]
    assert stopped_after(server, site, pod["terminationGracePeriodSeconds"] - int(before)) < 10
