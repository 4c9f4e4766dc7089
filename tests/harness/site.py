"""The documentation's site, built for tests as `make docs` builds it, and what its pages contain."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

from tests.harness.packages import missing
from tests.harness.servers import ROOT

#: Attributes by which a page loads something, by element; for links see `Page.links`.
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
#: What a <link> loads, by its rel.
LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


def build_site(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site into a folder. Whatever asks another server for something fails."""
    nowhere = {"%s_PROXY" % name: "http://127.0.0.1:9" for name in ("HTTP", "HTTPS", "ALL")}
    env = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    command = [str(find_python()), "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(command, cwd=str(ROOT), env=env, timeout=120, **kept)


def find_python() -> Path:
    """Return the Python that has MkDocs: of this virtual environment, or of the repository's."""
    for folder in (Path(sys.prefix), ROOT / ".venv"):
        if (folder / "docs" / "ready").exists():
            return folder / "docs" / "bin" / "python"
    return missing("what builds the documentation is missing: make docs")


class Page(HTMLParser):
    """One page of the site.

    :ivar ids: the anchors.
    :ivar links: where its links lead.
    :ivar loads: what it loads.
    :ivar text: its text.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.ids, self.links, self.loads, self._parts = set(), [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join("".join(self._parts).split())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(values["id"])
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag == "link" and set((values.get("rel") or "").split()) & LOADED_LINKS:
            self.loads.append(values["href"])
        if tag in LOADS and values.get(LOADS[tag]):
            self.loads.append(values[LOADS[tag]])

    def handle_data(self, data):
        self._parts.append(data)


def read_pages(folder: Path) -> dict[str, Page]:
    """Return the pages by their paths; without the one for missing pages, whose links are those of a server."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.html")}
    return {name: Page(path) for name, path in paths.items() if name != "404.html"}


def is_foreign(url: str) -> bool:
    """Whether a URL names a server or a scheme."""
    return re.match(r"(?:[a-z][a-z0-9+.-]*:)?//|[a-z][a-z0-9+.-]*:", url) is not None
