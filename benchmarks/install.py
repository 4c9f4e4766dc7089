"""Brings peers here: each from its own package, into a folder of its own under ``build/bench``, and nowhere else.

Nothing on the system changes: Debian's packages are unpacked there, not installed. What was brought once is kept
until its list of packages changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from .child import ROOT
from .table import progress

FOLDER = os.path.join(ROOT, "build", "bench")
PEERS = os.path.join(ROOT, "benchmarks", "peers")

#: Seconds that a package manager may take.
PATIENCE = 300


class Missing(Exception):
    """A peer that is not to be had here; says why."""


def python(name: str) -> str:
    """A virtual environment with what ``peers/<name>.txt`` lists; its interpreter."""
    listed = os.path.join(PEERS, name + ".txt")
    folder, is_new = _folder(name, _text(listed) + sys.version)
    interpreter = os.path.join(folder, "bin", "python")
    if is_new:
        _run(folder, sys.executable, "-m", "venv", folder)
        _run(folder, interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", listed)
        _done(folder, _text(listed) + sys.version)
    return interpreter


def npm(name: str) -> str:
    """A folder with the ``node_modules`` that ``peers/<name>.json`` lists."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("there is no node and npm here")
    listed = os.path.join(PEERS, name + ".json")
    folder, is_new = _folder(name, _text(listed))
    if is_new:
        shutil.copy(listed, os.path.join(folder, "package.json"))
        _run(folder, "npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
        _done(folder, _text(listed))
    return folder


def debian(name: str, *packages: str) -> str:
    """A folder into which these packages are unpacked."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("this is no Debian: no apt-get and dpkg-deb")
    folder, is_new = _folder(name, " ".join(packages))
    if is_new:
        _run(folder, "apt-get", "download", "-q", *packages)
        for found in os.listdir(folder):
            if found.endswith(".deb"):
                _run(folder, "dpkg-deb", "-x", found, ".")
        _done(folder, " ".join(packages))
    return folder


def versions(interpreter: str, *names: str) -> str:
    """What of these an environment has, as ``name 1.0, name 2.0``."""
    code = "import sys\nfrom importlib.metadata import version\nfor name in sys.argv[1:]: print(name, version(name))"
    return ", ".join(said(interpreter, "-c", code, *names).splitlines())


def said(*command: str) -> str:
    """What a program says; nothing if it does not."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def _folder(name: str, wanted: str) -> tuple[str, bool]:
    """Its folder, empty if it is new or not what is wanted."""
    folder = os.path.join(FOLDER, name)
    try:
        if _text(os.path.join(folder, "done")) == wanted:
            return folder, False
    except FileNotFoundError:
        pass
    progress("bringing %s" % name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder, True


def _done(folder: str, wanted: str) -> None:
    with open(os.path.join(folder, "done"), "w") as file:
        file.write(wanted)


def _run(folder: str, *command: str) -> None:
    named = " ".join([os.path.basename(command[0]), *command[1:3]])
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing("%s: %s" % (named, error)) from None
    if done.returncode:
        last = (done.stdout.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"])[-1]
        raise Missing("%s: %s" % (named, last))


def _text(path: str) -> str:
    with open(path) as file:
        return file.read()
