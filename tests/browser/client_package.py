"""The npm package of ssemux.js as its users get it: packed by npm, and put beside other packages. No tests here."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.browser.command import run
from tests.harness.packages import NODE_MODULES, need, need_npm
from tests.harness.servers import ROOT

#: What npm needs to pack: the package's own folder, and what it takes from elsewhere.
SOURCES = ["client", "flask_ssemux/static", "LICENSE"]


def pack(folder: Path) -> None:
    """Put the package into a new folder, as npm packs it. A copy is packed, since packing adds files for a moment."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for source in SOURCES:
            target = copy / source
            target.parent.mkdir(exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(str(ROOT / source), str(target))
        run(need("npm", "npm"), "pack", "--pack-destination", copy, cwd=copy / "client")
        (archive,) = copy.glob("*.tgz")
        run("tar", "xzf", archive, cwd=copy)
        folder.parent.mkdir(exist_ok=True)
        shutil.move(str(copy / "package"), str(folder))


def link_packages(project: Path, *names: str) -> None:
    """Install packages of tests/package.json in a project."""
    for name in names:
        need_npm(name)
        link = project / "node_modules" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(NODE_MODULES / name)
