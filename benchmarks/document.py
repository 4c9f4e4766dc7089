"""Writes measured figures into a document whose text is written by hand.

The figures are between ``<!-- measured: NAME -->`` and ``<!-- end -->``, and only they are replaced.
"""

from __future__ import annotations

import re


def fill_figures(path: str, name: str, text: str) -> None:
    """Replace the figures with this name.

    :raises ValueError: the document has no such marks.
    """
    with open(path, encoding="utf-8") as file:
        before = file.read()
    marked = re.compile(r"(<!-- measured: %s -->\n).*?(<!-- end -->)" % re.escape(name), re.DOTALL)
    if not marked.search(before):
        raise ValueError("%s: no '<!-- measured: %s -->' with an '<!-- end -->' after it" % (path, name))
    with open(path, "w", encoding="utf-8") as file:
        file.write(marked.sub(lambda found: found[1] + "\n" + text.strip() + "\n\n" + found[2], before))
