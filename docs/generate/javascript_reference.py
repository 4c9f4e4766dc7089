"""The reference of ssemux.js, made from its types, client/ssemux.d.ts: an entry for each exported declaration.

A page of docs/reference/ asks for entries by ``<!-- javascript: SSEMux Channel -->``. The file is read as it is
formatted by Prettier: declarations begin at the margin, and a doc comment stands before what it describes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from docstrings import convert_inline, write_cell

TYPES = Path(__file__).resolve().parents[2] / "client" / "ssemux.d.ts"
COMMENT = re.compile(r"\s*/\*\*(.*?)\*/\s*", re.S)
HEAD = re.compile(r"(?:export )?(?:declare )?(interface|class|type|const|function) (\w+)")


class Declaration(NamedTuple):
    kind: str
    name: str
    about: str
    source: str
    is_exported: bool


def read_declarations(text: str | None = None) -> list[Declaration]:
    """Return the declarations of the file in their order."""
    text = TYPES.read_text(encoding="utf-8") if text is None else text
    found, at, about = [], 0, ""
    while at < len(text):
        comment = COMMENT.match(text, at)
        if comment:
            about, at = _clean(comment[1]), comment.end()
            continue
        end = _find_end(text, at)
        source = text[at:end].strip()
        head = HEAD.match(source)
        if head:
            found.append(Declaration(head[1], head[2], about, source, source.startswith("export")))
        about, at = "", end
    return found


def _clean(comment: str) -> str:
    return " ".join(line.strip(" *") for line in comment.strip().splitlines()).strip()


def _find_end(text: str, at: int) -> int:
    """Return where a statement or a member ends: at the semicolon, or at the brace that closes its body."""
    depth = 0
    for place in range(at, len(text)):
        char = text[place]
        depth += (char in "{([") - (char in "})]")
        if depth == 0 and (char == ";" or (char == "}" and not _goes_on(text, place))):
            return place + 1
    return len(text)


def _goes_on(text: str, place: int) -> bool:
    """Whether a statement goes on after a brace, as a type does whose parts are objects."""
    return re.match(r"[ \t]*[;,)|&\[>]", text[place + 1 :]) is not None


def read_members(source: str) -> list[tuple[str, str]]:
    """Return the members of an interface or class with their comments."""
    body = source[source.index("{") + 1 : source.rindex("}")]
    found, at, about = [], 0, ""
    while body[at:].strip():
        comment = COMMENT.match(body, at)
        if comment:
            about, at = _clean(comment[1]), comment.end()
            continue
        end = _find_end(body, at)
        found.append((" ".join(body[at:end].split()).rstrip(";"), about))
        about, at = "", end
    return found


def write_entries(names: list[str]) -> str:
    declarations = {each.name: each for each in read_declarations()}
    return "\n\n".join(write_entry(declarations[name]) for name in names)


def write_entry(declaration: Declaration) -> str:
    parts = ["### `%s` { #%s }" % (declaration.name, make_anchor(declaration.name)), convert_inline(declaration.about)]
    if declaration.kind in ("interface", "class"):
        head = declaration.source[: declaration.source.index("{")].replace("export ", "").strip()
        parts += ["```ts\n%s\n```" % head, _write_members(declaration)]
    else:
        parts.append("```ts\n%s\n```" % declaration.source.replace("export ", ""))
    return "\n\n".join(filter(None, parts))


def _write_members(declaration: Declaration) -> str:
    rows = ["| member | |", "|---|---|"]
    for member, about in read_members(declaration.source):
        rows.append("| `%s` | %s |" % (member, write_cell(convert_inline(about))))
    return "\n".join(rows)


def make_anchor(name: str) -> str:
    return "js-" + name.lower()


def list_gaps() -> list[str]:
    """Return the exported names and the methods that no comment describes. The names of types speak for themselves."""
    gaps = []
    for each in read_declarations():
        if each.is_exported and each.kind == "class":
            gaps += ["%s has no comment" % each.name] * (not each.about)
            gaps += [
                "%s: %s has no comment" % (each.name, member)
                for member, about in read_members(each.source)
                if not about
            ]
    return gaps
