"""Which blocks of the documents the tests read, from the tests' own source, and which no test can run.

A test reads a block by `block`, `blocks`, `command`, `files` or `modules` of `tests/harness/document.py`, with
literals. What is here finds these calls. `test_census.py` compares them with the pages.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path
from typing import Iterator, NamedTuple

from tests.harness.document import DOCS, Block, list_blocks, split_commands
from tests.harness.servers import ROOT

TESTS = ROOT / "tests"
READERS = {"block", "blocks", "command", "files", "modules"}

#: Blocks that no test runs or compares, by page and first words, and why. A shell block has a reason for each command.
NOT_RUN = {
    "architecture.md": {
        "publish()  ": "a picture in letters",
    },
    "blocking.md": {
        "the worker was blocked": "the line of one run; tests/unit/test_loop_lag.py and tests/server/test_blocking.py "
        "compare such lines whole",
    },
    "history.md": {
        "the SQLite store": "needs a second user of the system: tests/brokers/test_sqlite_rights.py has one",
    },
    "howto/systemd.md": {
        "systemctl": "no systemd runs here; tests/proxies/test_services.py runs the unit's commands",
        "sudo -u www-data": "needs another user",
    },
    "howto/kubernetes.md": {
        "kubectl": "needs a cluster; tests/proxies/test_services.py runs what the file runs",
    },
    "howto/heroku.md": {
        "heroku ": "needs an account at Heroku; tests/proxies/test_services.py runs the Procfile's line",
        "git push heroku": "the same",
    },
    "job-systems.md": {
        "pip install redis": "an extra of setup.cfg by its own name",
        'pip install "psycopg': "the same",
    },
}


class Read(NamedTuple):
    """A call of a test that reads a document.

    :param reader: the function.
    :param document: the page.
    :param more: the other literal arguments: a language, what a block begins with.
    """

    reader: str
    document: str
    more: tuple[str, ...]

    def covers(self, found: Block, line: str | None = None) -> bool:
        """Return whether this call reads the block, or this command of it."""
        if self.document != found.document:
            return False
        if self.reader == "command":
            return line is not None and line.startswith(self.more[0])
        if self.reader == "modules":
            return found.language == "python" and bool(found.file_name)
        if self.reader == "files":
            return bool(found.file_name)
        return found.language == self.more[0] and found.source.startswith(self.more[1] if self.more[1:] else "")


@lru_cache(maxsize=None)
def list_reads() -> list[Read]:
    """Return the reading calls of all tests."""
    sources = [path for path in TESTS.rglob("*.py") if "node_modules" not in path.parts]
    return [read for path in sources for read in find_reads(path)]


def find_reads(path: Path) -> Iterator[Read]:
    text = path.read_text(encoding="utf-8")
    if not re.search(r"from tests\.harness(\.document)? import", text):
        return
    for node in ast.walk(ast.parse(text)):
        reader = name_reader(node)
        if reader in READERS:
            words = [word.value for word in node.args if isinstance(word, ast.Constant)]
            if words and isinstance(words[0], str):
                yield Read(reader, words[0], tuple(words[1:]))


def name_reader(node: ast.AST) -> str | None:
    """Return the name of the function that is called, if it is one of the module `document`."""
    function = getattr(node, "func", None)
    if isinstance(function, ast.Attribute) and getattr(function.value, "id", "") == "document":
        return function.attr
    return getattr(function, "id", None)


def list_documents() -> list[str]:
    """Return all pages, as `tests/harness/document.py` names them."""
    return ["../README.md", *sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))]


@lru_cache(maxsize=None)
def list_all_blocks() -> list[Block]:
    return [found for document in list_documents() for found in list_blocks(document)]


def is_read(found: Block) -> bool:
    """Return whether a test reads this block."""
    return any(read.covers(found) for read in list_reads())


def find_reason(found: Block, line: str | None = None) -> str | None:
    """Return why this block, or this command of it, is not run."""
    words = line or found.source
    reasons = NOT_RUN.get(found.document, {})
    return next((reason for begins, reason in reasons.items() if words.startswith(begins)), None)


def list_unread(language: str) -> list[Block]:
    """Return the blocks in a language that no test reads by itself, and that have no reason."""
    return [b for b in list_all_blocks() if b.language == language and not is_read(b) and not find_reason(b)]


def list_unread_commands() -> list[tuple[Block, str]]:
    """Return the commands of shell blocks that no test reads by itself, and that have no reason."""
    commands = [(b, line) for b in list_all_blocks() if b.language == "sh" for line in split_commands(b.source)]
    return [
        (b, line)
        for b, line in commands
        if not find_reason(b, line) and not any(read.covers(b, line) for read in list_reads())
    ]
