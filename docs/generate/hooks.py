"""What MkDocs calls while it builds the site (mkdocs.yml): links between pages, and the parts that are made from code.

The pages name each other and the repository's files as people do who read them in an editor: `docs/redis.md`. On the
site such a name becomes a link, whose text is the page's name in `nav`; a name of a file outside of docs/ stays text.
What writes the parts of the reference belongs into a module of its own beside this one.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # flask_ssemux is not installed where MkDocs is
sys.path.insert(0, str(Path(__file__).resolve().parent))

import javascript_reference  # noqa: E402
import python_reference  # noqa: E402
import tables  # noqa: E402

#: A page in a text, such as `docs/redis.md#commands-and-rights` in single backticks.
NAMED_PAGE = re.compile(r"`docs/([\w/-]+\.md)(#[\w-]+)?`")
#: A link to a file that is in the repository and not in docs/, on a page so many folders below docs/.
OUTER_LINK = r"\[([^\]]+)\]\((?:\.\./){%d,}[^)\s]*\)"
#: What may be in a fenced block, where nothing is replaced.
FENCE = re.compile(r"^( *)(```+|~~~+).*?^\1\2[ ]*$", re.S | re.M)

#: What is made from code: ``<!-- python: publish -->``, ``<!-- table: options -->``, and so on.
MADE = re.compile(r"^<!-- (python|javascript|table): ([\w. ]+) -->$", re.M)

_titles: dict[str, str] = {}


def on_nav(nav, config, files):
    """Note the names that `nav` gives to the pages."""
    _titles.clear()
    for page in nav.pages:
        _titles[page.file.src_uri] = page.title
    return nav


def on_page_markdown(markdown, page, config, files):
    """Write the parts that are made from code, and turn the names of pages into links."""
    path = page.file.src_uri
    markdown = MADE.sub(lambda found: make_part(found[1], found[2].split(), path, found.string), markdown)
    return replace_outside_fences(markdown, lambda text: link_pages(text, path.count("/")))


def make_part(kind, names, path, page):
    """Return the Markdown that a page asks for."""
    if kind == "javascript":
        return javascript_reference.write_entries(names, page)
    if kind == "table" and names != ["python"]:
        return "\n\n".join(tables.TABLES[name]() for name in names)
    index = python_reference.read_index()
    return index.write_table(path) if kind == "table" else index.write_entries(names, path)


def replace_outside_fences(markdown, replace):
    """Return the text with everything replaced that is not in a fenced block."""
    parts, at = [], 0
    for found in FENCE.finditer(markdown):
        parts += [replace(markdown[at : found.start()]), found.group()]
        at = found.end()
    return "".join([*parts, replace(markdown[at:])])


def link_pages(text, depth):
    """Return a text with a link wherever it names a page, and without the links that lead out of docs/.

    :param depth: how many folders below docs/ the page is.
    """

    def write_link(found):
        return "[%s](%s%s%s)" % (_titles.get(found[1], found[1]), "../" * depth, found[1], found[2] or "")

    return NAMED_PAGE.sub(write_link, re.sub(OUTER_LINK % (depth + 1), r"\1", text))
