"""Code of the documents, which is run exactly as it is printed there.

A test names what it reads by literals: `block("identity.md", "nginx")`. `tests/documents` reads these calls from the
tests' source, and so knows which blocks of the documents no test runs. `make dist-check` reads blocks, too: only the
standard library is imported here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCE = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```$", re.S | re.M)

#: The first line of a block that is a file: its name, as a comment.
FILE_NAME = re.compile(r"(?:#|//|<!--) ([\w./-]+\.\w+)(?: -->)?\n")


class Block(NamedTuple):
    """A fenced block.

    :param document: its page, relative to docs/: `identity.md`, `../README.md`.
    :param line: the line of its fence.
    :param language: `python`, `sh`; empty if the page names none.
    :param source: what stands between the fences, without the indent of the fences.
    """

    document: str
    line: int
    language: str
    source: str

    @property
    def file_name(self) -> str:
        """The file that the block is, or an empty text."""
        found = FILE_NAME.match(self.source)
        return found[1] if found else ""


def list_blocks(document: str) -> list[Block]:
    """Return the fenced blocks of docs/<document>, from the first to the last."""
    text = (DOCS / document).read_text(encoding="utf-8")
    return [make_block(document, text, found) for found in FENCE.finditer(text)]


def make_block(document: str, text: str, found: re.Match[str]) -> Block:
    indent, language, source = found.groups()
    line = text.count("\n", 0, found.start()) + 1
    return Block(document, line, language, re.sub("^" + indent, "", source, flags=re.M))


def block(document: str, language: str, begins: str = "") -> str:
    """Return the first block of docs/<document> in this language that begins so."""
    for found in list_blocks(document):
        if found.language == language and found.source.startswith(begins):
            return found.source
    raise AssertionError("docs/%s has no %s that begins %r" % (document, language, begins))


def blocks(document: str, language: str) -> list[str]:
    """Return all blocks of docs/<document> in this language."""
    return [found.source for found in list_blocks(document) if found.language == language]


def files(document: str, folder: Path) -> None:
    """Write all blocks of a document that name their file in the first line into a folder, whatever they are."""
    for found in list_blocks(document):
        if found.file_name:
            (folder / found.file_name).parent.mkdir(exist_ok=True)
            (folder / found.file_name).write_text(found.source, encoding="utf-8")


def modules(document: str, folder: Path) -> None:
    """Write the Python modules of a document that name their file in the first line into a folder."""
    for found in list_blocks(document):
        if found.language == "python" and found.file_name:
            (folder / found.file_name).write_text(found.source, encoding="utf-8")


def command(document: str, begins: str) -> str:
    """Return the one command of the document's shell blocks that begins so."""
    (found,) = [line for line in list_commands(document) if line.startswith(begins)]
    return found


def list_commands(document: str) -> list[str]:
    """Return the commands of all shell blocks of docs/<document>, without the comments behind them."""
    return [line for found in list_blocks(document) if found.language == "sh" for line in split_commands(found.source)]


def split_commands(source: str) -> list[str]:
    """Return the commands of a shell block; one that goes on after a backslash counts as one."""
    lines = (re.sub(r"(^|\s+)# .*$", "", line) for line in source.replace("\\\n", " ").splitlines())
    return [line for line in lines if line.strip()]
