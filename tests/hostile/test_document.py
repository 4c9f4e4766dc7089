"""docs/security.md and SECURITY.md name only tests that exist, and all tests of this folder."""

from __future__ import annotations

import re

from tests.harness.servers import ROOT

TEXT = "".join((ROOT / name).read_text() for name in ("SECURITY.md", "docs/security.md"))


def test_every_named_test_exists():
    named = set(re.findall(r"`((?:tests|docs|deploy)/[\w/.-]+)`", TEXT))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_test_here_is_named():
    here = {path.name for path in (ROOT / "tests" / "hostile").glob("test_*.py")}
    own = {"test_document.py", "test_proxy.py"}  # they test what other programs do
    assert [name for name in here - own if "tests/hostile/" + name not in TEXT] == []
