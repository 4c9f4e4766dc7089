"""Code of the documents, which is run exactly as it is printed there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.harness.servers import ROOT


def block(document: str, language: str, begins: str = "") -> str:
    """Return the first block of docs/<document> (or ../README.md) in this language that begins so."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    found = re.search(r"^( *)```%s\n(\1%s.*?)^\1```" % (language, re.escape(begins)), text, re.S | re.M)
    assert found, "docs/%s has no %s that begins %r" % (document, language, begins)
    return re.sub("^" + found.group(1), "", found.group(2), flags=re.M)


def modules(document: str, folder: Path) -> None:
    """Write the Python modules of a document that name their file in the first line into a folder."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    for name, source in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", text, re.S | re.M):
        (folder / name).write_text(source, encoding="utf-8")
