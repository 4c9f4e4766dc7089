"""What can be counted of the rules of English, on the pages that `mkdocs.yml` lists under Tutorial and How-to.

The pages of docs/tutorial and docs/howto are recipes, so they are short as well. The other pages have facts.
"""

from __future__ import annotations

import re

import pytest

from tests.harness.document import DOCS
from tests.harness.servers import ROOT

RECIPES = sorted([*DOCS.glob("tutorial/*.md"), *DOCS.glob("howto/*.md")])


def list_pages():
    """Return the pages of the two parts, in their order."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    parts = re.search(r"^  - Tutorial:$(.*?)^  - Reference:$", navigation, re.S | re.M)[1]
    return [DOCS / page for page in re.findall(r"[\w/-]+\.md$", parts, re.M)]


PAGES = list_pages()
MOST_WORDS = 30
MOST_LINES = 130  # without code: a page is one task

#: Words that say nothing, that flatter, or that belong to somebody's idiom; the plain word is in the message.
REFUSED = {
    r"simply|just|easily|obviously|of course|please": "leave it out",
    r"utili[sz]e": "use",
    r"in order to": "to",
    r"leverage": "use",
    r"e\.g\.|i\.e\.|etc\.": "for example; that is; and others",
    r"(?<!/)and/or": "choose one",
    r"whilst|hence|thus|whoever|thereof": "a plain word",
    r"we|our|us": "the name of who does it",
}


def read_prose(path) -> str:
    """Return the text of a page that is read as sentences: no code, no tables, and links by their words."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.S | re.M)
    text = re.sub(r"^\|.*$", "", text, flags=re.M)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"`[^`]*`", "code", text)


def list_sentences(path) -> list[str]:
    """Return the sentences of a page. A paragraph, a heading and an item of a list end one."""
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[*#>-]|\d+\.) )", read_prose(path))
    joined = [" ".join(part.split()) for part in parts]
    return [sentence for part in joined for sentence in re.split(r"(?<=[.!?])\s+", part) if sentence]


def count_words(sentence: str) -> int:
    return len(re.findall(r"[\w'’-]+", sentence))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_no_sentence_is_long(path):
    long = [s for s in list_sentences(path) if count_words(s) > MOST_WORDS]
    assert long == [], "split these sentences: pages of the Tutorial and How-to have none over %d words" % MOST_WORDS


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_words_are_plain(path):
    text = " ".join(list_sentences(path))
    found = {
        (m.group(0), why) for words, why in REFUSED.items() for m in re.finditer(r"\b(?:%s)\b" % words, text, re.I)
    }
    assert found == set()


def test_each_recipe_is_in_one_of_the_two_parts():
    assert [path for path in RECIPES if path not in PAGES] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_a_page_has_one_title_and_is_short(path):
    prose = read_prose(path)
    assert len(re.findall(r"^# ", prose, re.M)) == 1
    assert len([line for line in prose.splitlines() if line.strip()]) <= MOST_LINES


def test_a_long_sentence_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n%s.\n\n```text\n%s\n```\n" % ("word " * 31, "code " * 90), encoding="utf-8")
    assert [count_words(sentence) for sentence in list_sentences(page)] == [1, 31]
