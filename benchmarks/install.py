"""Installs the peers, each from its own packages into a folder of its own under ``build/bench``.

Nothing else on the system changes: Debian's packages are unpacked there and not installed. A folder is kept until its
list of packages changes.
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
    """A peer cannot be installed here; the message is the reason."""


def make_environment(name: str) -> str:
    """Create a virtual environment with the packages in ``peers/<name>.txt``, and return its interpreter."""
    listed = os.path.join(PEERS, name + ".txt")
    folder, is_new = _open_folder(name, _read_text(listed) + sys.version)
    interpreter = os.path.join(folder, "bin", "python")
    if is_new:
        _run(folder, sys.executable, "-m", "venv", folder)
        _run(folder, interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", listed)
        _mark_done(folder, _read_text(listed) + sys.version)
    return interpreter


def install_npm(name: str) -> str:
    """Return a folder with the ``node_modules`` that ``peers/<name>.json`` lists."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise Missing("node and npm are not installed")
    listed = os.path.join(PEERS, name + ".json")
    folder, is_new = _open_folder(name, _read_text(listed))
    if is_new:
        shutil.copy(listed, os.path.join(folder, "package.json"))
        _run(folder, "npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
        _mark_done(folder, _read_text(listed))
    return folder


def unpack_debian(name: str, *packages: str) -> str:
    """Return a folder in which these Debian packages are unpacked."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("apt-get and dpkg-deb are not installed: this is not Debian")
    folder, is_new = _open_folder(name, " ".join(packages))
    if is_new:
        _run(folder, "apt-get", "download", "-q", *packages)
        for found in os.listdir(folder):
            if found.endswith(".deb"):
                _run(folder, "dpkg-deb", "-x", found, ".")
        _mark_done(folder, " ".join(packages))
    return folder


def list_debian(folder: str) -> list[str]:
    """Return the packages in a folder of ``unpack_debian``, as ``name 1.0``."""
    packages = [name.rpartition("_")[0] for name in os.listdir(folder) if name.endswith(".deb")]
    return sorted(name.replace("%3a", ":").replace("_", " ") for name in packages)


def list_versions(interpreter: str, *names: str) -> str:
    """Return the versions of these packages in an environment, as ``name 1.0, name 2.0``."""
    code = "import sys\nfrom importlib.metadata import version\nfor name in sys.argv[1:]: print(name, version(name))"
    return ", ".join(read_output(interpreter, "-c", code, *names).splitlines())


def read_output(*command: str) -> str:
    """Return a program's output, or "" if the program fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode("utf-8", "replace").strip()


def _open_folder(name: str, wanted: str) -> tuple[str, bool]:
    """Return the peer's folder, and whether it is new. It is emptied if it does not have what is wanted."""
    folder = os.path.join(FOLDER, name)
    try:
        if _read_text(os.path.join(folder, "done")) == wanted:
            return folder, False
    except FileNotFoundError:
        pass
    progress("installing %s" % name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder, True


def _mark_done(folder: str, wanted: str) -> None:
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
        last = (done.stdout.decode("utf-8", "replace").strip().splitlines() or ["it printed nothing"])[-1]
        raise Missing("%s: %s" % (named, last))


def _read_text(path: str) -> str:
    with open(path) as file:
        return file.read()
