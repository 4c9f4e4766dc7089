"""A document whose text is written by hand and whose figures are not.

What is measured stands between ``<!-- measured: NAME -->`` and ``<!-- end -->``, and only that is replaced.
"""

from __future__ import annotations

import re


def fill(path: str, name: str, text: str) -> None:
    """Put new figures in the place of this name.

    :raises ValueError: the document has no such place.
    """
    with open(path, encoding="utf-8") as file:
        before = file.read()
    place = re.compile(r"(<!-- measured: %s -->\n).*?(<!-- end -->)" % re.escape(name), re.DOTALL)
    if not place.search(before):
        raise ValueError("%s: no '<!-- measured: %s -->' with an '<!-- end -->' after it" % (path, name))
    with open(path, "w", encoding="utf-8") as file:
        file.write(place.sub(lambda found: found[1] + "\n" + text.strip() + "\n\n" + found[2], before))
