"""Dockerfile and compose.yaml: linted, and their commands run as they stand, locked in as the containers are.

No Docker engine runs here. What takes its place is the same kernel's: a mount namespace whose root is read-only, and no
capabilities. The images of Docker Hub, the networks and the volumes are not tried.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.harness.client import RawStream
from tests.harness.packages import missing, need
from tests.harness.redis import RedisServer
from tests.harness.servers import ROOT, Nginx, Server, listens
from tests.proxies.proxy import sample

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
FOLDERS = {"/data": "/srv", "/app": "/mnt"}


def run_tool(name: str, *arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).parent / name
    if not tool.exists():
        if sys.version_info < (3, 11):
            pytest.skip("setup.cfg has %s for Python 3.11 and newer" % name)
        missing("%s is missing: pip install -e .[test]" % name)
    command = [str(tool), *map(str, arguments)]
    return subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


# -- linted --------------------------------------------------------------------


def test_hadolint_accepts_the_dockerfile():
    assert run_tool("hadolint", "-", text=DOCKERFILE).stdout == ""
    assert "DL3007" in run_tool("hadolint", "-", text="FROM python:latest\n").stdout


@pytest.mark.parametrize(
    "schema, pattern",
    [
        ("compose-spec", "compose.yaml"),
        ("github-workflows", ".github/workflows/*.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
    ],
)
def test_it_follows_its_schema(schema, pattern, tmp_path):
    files = sorted(ROOT.glob(pattern))
    assert files
    done = run_tool("check-jsonschema", "--builtin-schema", "vendor." + schema, *files)
    assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.yml").write_text("services: {web: {imagine: x}}\njobs: 1\nbody: 1\nversion: 1\n")
    assert run_tool("check-jsonschema", "--builtin-schema", "vendor." + schema, tmp_path / "wrong.yml").returncode == 1


def test_each_service_is_locked_in():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True and service["tmpfs"] == ["/tmp"], name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"], name
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.M) == ["10001:10001"]
    assert COMPOSE["services"]["redis"]["user"] != "0:0"
    assert "unprivileged" in COMPOSE["services"]["nginx"]["image"]


def test_what_it_names_exists():
    """The files that the image copies are neither missing nor hidden by .dockerignore."""
    copied = [words for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.M) for words in line.split()]
    shown = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.M))
    assert copied and set(copied) == shown
    assert all((ROOT / name).exists() for name in copied)
    mounted = [volume for service in COMPOSE["services"].values() for volume in service["volumes"] if volume[0] == "."]
    assert all((ROOT / volume.split(":")[0]).exists() for volume in mounted)


def test_compose_waits_longer_than_gunicorn_needs_to_stop():
    source = (ROOT / "flask_ssemux" / "gunicorn_conf.py").read_text(encoding="utf-8")
    assert int(COMPOSE["services"]["web"]["stop_grace_period"][:-1]) > int(
        re.search(r"graceful_timeout = (\d+)", source)[1]
    )


# -- run -----------------------------------------------------------------------


def read_instruction(name: str) -> list[str]:
    """Return the words of the Dockerfile's CMD, or of its HEALTHCHECK's."""
    (words,) = re.findall(r"^%s.*?(\[.*\])$" % name, DOCKERFILE.replace("\\\n", " "), re.M)
    return json.loads(words)


class Container(Server):
    """The image's command as its container runs it: /app, and everything else, read-only; /data and /tmp writable."""

    name = "container"

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        super().__init__({"PATH": path, "PYTHONPATH": None, **read_environment(), **env}, cwd=folder)
        for name in ("data", "app"):
            (folder / name).mkdir()
        shutil.copytree(str(ROOT / "legacy_app"), str(folder / "app" / "legacy_app"))
        shutil.copy(str(ROOT / "gunicorn.conf.py"), str(folder / "app"))

    def lock_in(self, words: list[str]) -> list[str]:
        """Return the command below which this one runs, with the mounts of the container, and without capabilities."""
        mounts = "mount --bind data /srv && mount --bind app /mnt && mount -o remount,bind,ro /mnt"
        mounts += " && cd /mnt && mount -t tmpfs none /tmp && mount -o remount,bind,ro /"
        drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--no-new-privs"]
        shell = '%s && exec "$@"' % mounts
        return [need("util-linux", "unshare"), "--mount", "sh", "-ec", shell, "sh", *drop, *words]

    def command(self) -> list[str]:
        words = [word.replace("0.0.0.0:8000", "127.0.0.1:%d" % self.port) for word in read_instruction("CMD")]
        return self.lock_in(words)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Run the health check within the container's mounts."""
        words = [word.replace(":8000", ":%d" % self.port) for word in read_instruction("HEALTHCHECK")]
        namespace = ["nsenter", "--mount=/proc/%d/ns/mnt" % self.pid, "--wd=/mnt"]
        return subprocess.run([*namespace, *words], env=self.env, capture_output=True, text=True, timeout=60)

    def ready(self) -> bool:
        return listens(self.port)


def read_environment() -> dict[str, str]:
    """Return what the Dockerfile's last ENV sets, but PATH, with the folders of the test."""
    (line,) = re.findall(r"^ENV (.*)$", DOCKERFILE.replace("\\\n", " "), re.M)
    pairs = dict(pair.split("=", 1) for pair in line.split())
    return {name: FOLDERS.get(value, value) for name, value in pairs.items() if name != "PATH"}


@pytest.fixture
def redis(running):
    return running(RedisServer(args=COMPOSE["services"]["redis"]["command"][1:]))


@pytest.fixture
def container(running, redis, tmp_path):
    refused = subprocess.run(
        [need("util-linux", "unshare"), "--mount", "true"], stderr=subprocess.PIPE, text=True
    ).stderr
    if refused:
        missing("no mount namespace can be made here, which takes root: %s" % refused.strip())
    env = {**COMPOSE["services"]["web"]["environment"], "SSEMUX_BROKER": redis.url, "SSEMUX_HEARTBEAT": "1"}
    return running(Container(tmp_path, {**env, "LEGACY_APP_SECRET_KEY": ""}))


def test_the_example_runs_locked_in_and_the_doctor_says_how_it_is(container, redis, running):
    changes = {
        "listen 8080": "listen 127.0.0.1:LISTEN_PORT",
        "http://web:8000": "http://127.0.0.1:UPSTREAM_PORT",
        "/tmp/": "FOLDER/",
        "worker_shutdown_timeout 10m;": "worker_shutdown_timeout 1s;",
    }
    nginx = running(Nginx(container.port, text=sample("compose-nginx.conf", changes)))
    with RawStream(nginx.port, "/events") as stream:
        stream.wait_for(b"ssemux.hello", 5)
        done = container.check()
        assert done.returncode == 0 and "timed frames" in done.stdout, done.stdout + done.stderr
        stream.wait_for(b": heartbeat", 5)
    with pytest.raises(OSError):
        Path("/proc/%d/root/mnt/new" % container.pid).write_text("")
    assert "secret_key" in os.listdir("/proc/%d/root/srv" % container.pid)
    assert "rror" not in container.log
    redis.stop()
    done = container.check()
    assert done.returncode == 1, done.stdout + done.stderr
