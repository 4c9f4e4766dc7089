"""Runs the code of docs/testing.md, and with it the fixtures of the plugin, in a pytest process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.harness.document import block, files
from tests.harness.servers import ROOT

PYTEST = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
PATCHED = "from gevent import monkey; monkey.patch_all(); " + PYTEST


def run(folder, python=PYTEST, conftest=None):
    files("testing.md", folder)
    if conftest is not None:
        (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    command = [sys.executable, "-c", python, "-q", "-p", "no:cacheprovider", "-W", "error", "--rootdir", str(folder)]
    env = {**os.environ, "PYTHONPATH": "%s:%s" % (folder, ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=str(folder), env=env, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stdout


@pytest.mark.parametrize("python", [PYTEST, PATCHED], ids=["threads", "gevent"])
def test_the_document(tmp_path, python):
    code, output = run(tmp_path, python)
    tests = len(re.findall(r"^def test_", block("testing.md", "python", "# test_shop.py"), re.M))
    assert (code, "%d passed" % tests in output) == (0, True), output


def test_the_plugin_is_loaded_only_on_request(tmp_path):
    conftest = block("testing.md", "python", "# conftest.py").replace("pytest_plugins", "not_plugins")
    code, output = run(tmp_path, conftest=conftest)
    assert code == 1 and "fixture 'ssemux_clock' not found" in output, output
