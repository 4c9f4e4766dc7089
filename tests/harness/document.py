"""The code of documents, to be run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.servers import ROOT


def block(document: str, language: str, begins: str = "") -> str:
    """The first block of docs/<document> (or ../README.md) in this language that begins so."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    found = re.search(r"^( *)```%s\n(\1%s.*?)^\1```" % (language, re.escape(begins)), text, re.S | re.M)
    assert found, "docs/%s has no %s that begins %r" % (document, language, begins)
    return re.sub("^" + found.group(1), "", found.group(2), flags=re.M)


def modules(document: str, folder: Path) -> None:
    """All Python modules of a document that say their file's name in their first line, as files in a folder."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    for name, source in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.S | re.M):
        (folder / name).write_text(source, encoding="utf-8")
