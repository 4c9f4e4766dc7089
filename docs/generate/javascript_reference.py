"""The reference of ssemux.js, made from the types in client/: an entry for each exported declaration.

A page of docs/reference/ asks for entries of ssemux.d.ts by ``<!-- javascript: SSEMux Channel -->``, and for the
others, and those of the other files, by ``<!-- javascript: rest -->``. The files are read as Prettier formats them:
declarations begin at the margin, and a doc comment stands before what it describes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from docstrings import convert_inline, write_cell

CLIENT = Path(__file__).resolve().parents[2] / "client"
MAIN = "ssemux"
REQUEST = re.compile(r"^<!-- javascript: ([\w ]+) -->$", re.M)
COMMENT = re.compile(r"\s*/\*\*(.*?)\*/\s*", re.S)
HEAD = re.compile(r"(?:export )?(?:declare )?(interface|class|type|const|function) (\w+)")


class Declaration(NamedTuple):
    """One statement of a file of types.

    :param module: the file's name, such as ``ssemux``.
    """

    module: str
    kind: str
    name: str
    about: str
    source: str

    @property
    def is_exported(self) -> bool:
        return self.source.startswith("export")

    @property
    def anchor(self) -> str:
        module = "" if self.module == MAIN else self.module + "-"
        return "js-%s%s" % (module, self.name.lower())


def list_modules() -> list[str]:
    """Return the names of the files, ssemux.d.ts first."""
    names = sorted(path.name.partition(".")[0] for path in CLIENT.glob("*.d.ts"))
    return sorted(names, key=lambda name: name != MAIN)


def read_declarations(module: str = MAIN) -> list[Declaration]:
    """Return the declarations of a file in their order."""
    text = (CLIENT / (module + ".d.ts")).read_text(encoding="utf-8")
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
            _add(found, Declaration(module, head[1], head[2], about, source))
        about, at = "", end
    return found


def _add(found: list[Declaration], new: Declaration) -> None:
    """Add a declaration; several of one function, for different arguments, become one."""
    if found and found[-1].name == new.name:
        old = found.pop()
        source = "%s\n\n%s" % (old.source, new.source.replace("export ", "", 1))
        new = new._replace(about=" ".join(filter(None, [old.about, new.about])), source=source)
    found.append(new)


def _clean(comment: str) -> str:
    return " ".join(" ".join(line.strip(" *") for line in comment.strip().splitlines()).split())


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
    return re.match(r"[ \t]*(?:[;,)|&\[>=]|from\b)", text[place + 1 :]) is not None


def read_members(declaration: Declaration) -> list[tuple[str, str]]:
    """Return the members of an interface or class with their comments."""
    body = declaration.source[declaration.source.index("{") + 1 : declaration.source.rindex("}")]
    found, at, about = [], 0, ""
    while body[at:].strip():
        comment = COMMENT.match(body, at)
        if comment:
            about, at = _clean(comment[1]), comment.end()
            continue
        end = _find_end(body, at)
        member = _join_lines(body[at:end]).rstrip(";")
        found += [] if member.startswith("private ") else [(member, about)]
        about, at = "", end
    return found


def _join_lines(source: str) -> str:
    return re.sub(r",? \)", ")", re.sub(r"\( ", "(", " ".join(source.split())))


# -- entries -------------------------------------------------------------------


def write_entries(names: list[str], page: str = "") -> str:
    """Return the entries of these declarations.

    :param page: the text of the page. What it does not name is the ``rest``.
    """
    declarations = {each.name: each for each in read_declarations()}
    if names != ["rest"]:
        return "\n\n".join(write_entry(declarations[name]) for name in names)
    named = " ".join(REQUEST.findall(page)).split()
    parts = [write_entry(each) for name, each in declarations.items() if each.is_exported and name not in named]
    for module in list_modules()[1:]:
        parts.append("## `%s.d.ts`" % module)
        parts += [write_entry(each) for each in read_declarations(module) if each.is_exported]
    return "\n\n".join(parts)


def write_entry(declaration: Declaration) -> str:
    parts = ["### `%s` { #%s }" % (declaration.name, declaration.anchor), convert_inline(declaration.about)]
    shown = declaration.source.replace("export ", "", 1)
    if declaration.kind in ("interface", "class"):
        parts += ["```ts\n%s\n```" % shown[: shown.index("{")].strip(), _write_members(declaration)]
    else:
        parts.append("```ts\n%s\n```" % shown)
    return "\n\n".join(filter(None, parts))


def _write_members(declaration: Declaration) -> str:
    rows = ["| member | |", "|---|---|"]
    for member, about in read_members(declaration):
        rows.append("| `%s` | %s |" % (member, write_cell(convert_inline(about))))
    return "\n".join(rows)


def list_gaps() -> list[str]:
    """Return the exported names that no comment describes, and the members of classes and interfaces."""
    gaps = []
    for each in (each for module in list_modules() for each in read_declarations(module) if each.is_exported):
        gaps += [] if each.about else ["%s: %s has no comment" % (each.module, each.name)]
        if each.kind in ("class", "interface"):
            bare = [member for member, about in read_members(each) if not about]
            gaps += ["%s: %s: %s has no comment" % (each.module, each.name, member) for member in bare]
    return gaps
