"""The README's promises: its quickstart runs, its files and pictures exist, it is short."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.client import RawStream
from tests.harness.document import block, command, modules
from tests.harness.packages import missing
from tests.harness.servers import Gunicorn, environment
from tests.server.conftest import Site

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_short():
    """A visitor reads it in a minute or two, without tables and code; what is longer belongs into docs/."""
    text = re.sub(r"^```.*?^```|^\|.*?$|\(docs/\S+\)", "", README, flags=re.S | re.M)
    assert len(text.split()) < 400


def test_the_quickstart_runs(tmp_path, running):
    """The quickstart exactly as printed, in a folder of its own beside a copy of the repository, with today's packages
    of PyPI.
    """
    shop = install(tmp_path)
    modules("../README.md", shop)
    assert command("../README.md", "gunicorn ") == "gunicorn -k gevent -w 2 shop:app"
    python, env = str(shop / ".venv" / "bin" / "python"), {"PYTHONPATH": None}
    site = Site(running(Gunicorn("shop:app", workers=2, env=env, cwd=shop, python=python)))
    with RawStream(site.port, path_of(command("../README.md", "curl -N "))) as stream:
        stream.wait_for(b"ssemux.hello", 3)
        with RawStream(site.port, path_of(command("../README.md", "curl http"))) as page:
            page.wait_for(b"sold", 3)
        sale = stream.wait_events(2, 3)[1]
        assert (sale.event, sale.data) == ("sale", '{"sold":1}')


def path_of(curl):
    return curl.split(":8000")[1].strip('"')


def install(folder):
    """Run the README's commands that come before shop.py; return the shop's folder."""
    repository = folder / "flask_ssemux"
    shutil.copytree(str(ROOT / "flask_ssemux"), str(repository / "flask_ssemux"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(str(ROOT / name), str(repository))
    commands = block("../README.md", "sh", "mkdir shop ")
    env = environment({"PYTHONPATH": None})
    done = subprocess.run(
        ["bash", "-e"], input=commands, cwd=str(folder), env=env, timeout=120, capture_output=True, text=True
    )
    if "Failed to establish a new connection" in done.stderr + done.stdout:
        missing("PyPI is missing: pip reaches no index from here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Successfully installed" in done.stdout
    return folder / "shop"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"[`(]((?:docs|legacy_app|deploy)/[\w./-]*)[`)]", README))))
def test_files_that_it_mentions_exist(path):
    assert (ROOT / path).exists()
