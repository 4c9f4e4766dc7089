"""What the pages show of other programs: their own parsers read each block that no other test reads."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys

import pytest
import yaml

from tests.documents.census import list_unread
from tests.harness.document import Block, block
from tests.harness.packages import need
from tests.harness.servers import ROOT
from tests.proxies.test_container import run_tool


def name(found: Block) -> str:
    return "%s:%d" % (found.document, found.line)


@pytest.mark.parametrize("found", list_unread("json"), ids=name)
def test_json(found):
    json.loads(found.source)


@pytest.mark.parametrize("found", list_unread("yaml"), ids=name)
def test_yaml(found):
    yaml.safe_load(found.source)


@pytest.mark.parametrize("found", list_unread("ini"), ids=name)
def test_ini(found):
    parser = configparser.ConfigParser(strict=False)
    parser.read_string(found.source)
    assert parser.sections()


def test_nginx_accepts_each_block(tmp_path):
    """What stands before the first `location` goes around a server, and the rest into it."""
    nginx = need("nginx-light", "/usr/sbin/nginx")
    assert list_unread("nginx")
    for found in list_unread("nginx"):
        file = tmp_path / "nginx.conf"
        file.write_text(surround(found.source, tmp_path), encoding="utf-8")
        done = subprocess.run([nginx, "-t", "-p", str(tmp_path), "-c", str(file)], capture_output=True, text=True)
        assert done.returncode == 0, name(found) + done.stderr


def surround(source: str, folder) -> str:
    http, location, rest = source.partition("location ")
    frame = "pid %s/pid; error_log stderr; events {} http { access_log off; %s\n server { listen 127.0.0.1:1; %s\n } }"
    return frame % (folder, http, location + rest)


def test_prometheus_accepts_each_query(tmp_path):
    queries = [line for found in list_unread("promql") for line in found.source.splitlines()]
    assert queries
    rules = [{"record": "page:query%d" % number, "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "pages", "rules": rules}]}), encoding="utf-8")
    command = [need("prometheus", "promtool"), "check", "rules", str(tmp_path / "rules.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_container():
    """The page's model is linted as the repository's own files are, and its Compose file follows the schema."""
    assert run_tool("hadolint", "-", text=block("howto/docker.md", "dockerfile")).stdout == ""


def test_a_compose_file(tmp_path):
    file = tmp_path / "compose.yaml"
    file.write_text(block("howto/docker.md", "yaml"), encoding="utf-8")
    done = run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    assert done.returncode == 0, done.stdout


def test_the_procfile_is_the_sample():
    assert block("howto/heroku.md", "text", "web: ").strip() in (ROOT / "deploy" / "Procfile").read_text()


def test_gunicorn_accepts_its_configuration(tmp_path):
    """It patches its process when it is read, so it is read by gunicorn and not here."""
    sources = {block("servers.md", "python", "from flask_ssemux.gunicorn_conf")}
    sources.add(block("howto/systemd.md", "python", "# gunicorn.conf.py").partition("\n")[2])
    assert len(sources) == 1
    (tmp_path / "gunicorn.conf.py").write_text(sources.pop(), encoding="utf-8")
    command = [sys.executable, "-m", "gunicorn", "--print-config", "shop:app"]
    (tmp_path / "shop.py").write_text("from flask import Flask\napp = Flask(__name__)\n", encoding="utf-8")
    done = subprocess.run(command, cwd=str(tmp_path), capture_output=True, text=True, timeout=60)
    assert re.search(r"^worker_class +=.*gevent", done.stdout, re.M), done.stderr
