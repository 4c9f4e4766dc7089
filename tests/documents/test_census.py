"""Each fenced block of README.md and docs/ is run, parsed or compared by a test, or has a reason why not.

`pytest tests/documents/test_census.py -s` prints the table: how many blocks each page has, and how they are covered.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.documents import test_shell
from tests.documents.census import (
    NOT_RUN,
    find_reason,
    is_read,
    list_all_blocks,
    list_documents,
    list_reads,
    list_unread_commands,
)
from tests.harness.document import DOCS, FENCE, list_blocks, split_commands

#: What becomes of a block that no test reads by itself, by language.
BY_KIND = {
    "python": "run by test_python.py",
    "js": "parsed by test_javascript.py",
    "jsx": "parsed by test_javascript.py",
    "ts": "parsed by test_javascript.py",
    "tsx": "parsed by test_javascript.py",
    "html": "parsed by test_javascript.py",
    "json": "parsed by test_configuration.py",
    "yaml": "parsed by test_configuration.py",
    "ini": "parsed by test_configuration.py",
    "nginx": "parsed by test_configuration.py",
    "promql": "parsed by test_configuration.py",
}


def describe(found):
    """Return how a block is covered, or None."""
    if found.language == "sh":
        unread = [line for block, line in list_unread_commands() if block == found]
        if any(not test_shell.find_check(line) for line in unread):
            return None
        read = len(split_commands(found.source)) - len(unread)
        return "run, or has a reason" if read else "parsed by test_shell.py"
    if is_read(found):
        return "read by a test"
    return "has a reason" if find_reason(found) else BY_KIND.get(found.language)


def test_each_block_is_covered():
    bare = [(b.document, b.line, b.language, b.source[:60]) for b in list_all_blocks() if not describe(b)]
    assert bare == [], "no test covers these blocks: read them in a test, or add a reason to tests/documents/census.py"


def test_the_table():
    for document in list_documents():
        found = Counter(describe(block) for block in list_blocks(document))
        print("%-36s %s" % (document, ", ".join("%d %s" % (count, how) for how, count in found.most_common())))


@pytest.mark.parametrize("document", list_documents())
def test_each_block_names_its_language(document):
    """Indented lines are code too, without a language. What belongs to an item of a list is no block."""
    assert [found.line for found in list_blocks(document) if not found.language] == []
    outside = FENCE.sub("", (DOCS / document).read_text(encoding="utf-8"))
    assert re.findall(r"^(?![ *\d]).*\n\n {4}\S.*", outside, re.M) == []


@pytest.mark.parametrize("document", sorted(NOT_RUN))
def test_each_reason_is_of_a_block_that_exists(document):
    sources = [found.source for found in list_blocks(document)]
    starts = sources + [line for source in sources for line in split_commands(source)]
    assert [begins for begins in NOT_RUN[document] if not any(start.startswith(begins) for start in starts)] == []


def test_each_read_finds_its_block():
    """A page or a block that was renamed would otherwise count as covered."""
    blocks = {document: list_blocks(document) for document in list_documents()}
    for read in list_reads():
        found = blocks.get(read.document, [])
        lines = [(b, line) for b in found if b.language == "sh" for line in split_commands(b.source)]
        assert any(read.covers(b) for b in found) or any(read.covers(b, line) for b, line in lines), read
