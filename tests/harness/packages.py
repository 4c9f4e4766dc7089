"""What the tests need from outside of Python.

A missing part skips the test on a developer's machine and fails it under CI=true; the message names the package.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

TESTS = Path(__file__).resolve().parents[1]
NODE_MODULES = TESTS / "node_modules"
WHEELS = TESTS.parent / "build" / "wheels"


def need(package: str, program: str) -> str:
    """Return the path of `program` (a path, or a name on PATH) from the Debian package `package`."""
    found = shutil.which(program)
    return found if found else missing(f"{program} is missing: apt-get install {package}")


def need_npm(package: str) -> Path:
    """Return the folder of an npm package that tests/package.json lists."""
    folder = NODE_MODULES / package
    if (folder / "package.json").exists():
        return folder
    return missing(f"the npm package {package} is missing: npm ci --prefix {TESTS}")


def need_node(version: int) -> str:
    """Return the program of this version of Node, such as 22, which tests/package.json lists for Linux on x86-64."""
    program = NODE_MODULES / ("node%d" % version) / "bin" / "node"
    return str(program) if program.exists() else missing(f"Node {version} is missing: npm ci --prefix {TESTS}")


def need_from_wheel(wheel: str, file: str) -> Path:
    """Return a file of a wheel on PyPI, such as `starhtml==0.7.0`, which need not fit this Python."""
    found = WHEELS / wheel / file
    if not found.exists():
        WHEELS.mkdir(parents=True, exist_ok=True)
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12", f"--dest={WHEELS}"]
        done = subprocess.run([sys.executable, "-m", "pip", "download", *options, wheel], timeout=120)
        if done.returncode != 0:
            return missing(f"{wheel} is missing: pip downloads nothing from PyPI here")
        with zipfile.ZipFile(str(next(WHEELS.glob("%s-%s-*.whl" % tuple(wheel.split("==")))))) as archive:
            archive.extract(file, str(WHEELS / wheel))
    return found


def need_python(package: str, module: str) -> ModuleType:
    """Return a module of a Python package that the extra ``test`` in setup.cfg lists."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return missing(f"the Python package {package} is missing: pip install -e .[test]")


def missing(message: str):
    """Skip this test, or fail it in CI; for what the functions above do not cover."""
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
