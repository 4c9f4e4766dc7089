"""The package's docstrings as Markdown, and what they lack.

A docstring is text in reStructuredText's simplest form (``code``, a block after ``::``) and fields: ``:param name:``,
``:ivar name:``, ``:return:``, ``:raises Error:``. Types stand in the signature. A docstring that says "see ``publish``"
or "the parameters are those of ``publish``" has that one's fields, too. Only parsing; ``python_reference.py`` writes.
"""

from __future__ import annotations

import inspect
import re
import textwrap

FIELD = re.compile(r":(param|ivar|return|raises) ?([^:]*):(?: |$)(.*)")
#: Another docstring whose fields count here too.
REFERRED = re.compile(r"(?:\b[Ss]ee|\b[Tt]hose of|\bas for|\bCall)\s+``([\w.]+?)(?:\([^`]*)?``")


class Docstring:
    """A docstring in its parts.

    :ivar text: all but the fields.
    :ivar fields: lists of a kind, a name and a text.
    """

    def __init__(self, source: str | None) -> None:
        lines, self.fields = [], []
        for line in inspect.cleandoc(source or "").splitlines():
            found = FIELD.match(line)
            if found:
                self.fields.append([found[1], found[2].strip(), found[3]])
            elif self.fields:
                self.fields[-1][2] = (self.fields[-1][2] + " " + line.strip()).strip()
            else:
                lines.append(line)
        self.text = "\n".join(lines).strip()

    @property
    def summary(self) -> str:
        """The first sentence, without what it says about where to look further."""
        first = re.sub(r"; see ``[^`]+``(?=\.)", "", " ".join(self.text.split("\n\n")[0].split()))
        return re.sub(r":+$", ".", re.split(r"(?<=\.)\s", first)[0])

    def get_fields(self, kind: str) -> dict[str, str]:
        return {name: text for found, name, text in self.fields if found == kind}


def read_docstring(function, owner=None) -> Docstring:
    """Return the docstring of a function, with the fields of those that it refers to.

    :param owner: the class of a method, whose other methods the docstring may name.
    """
    made = Docstring(function.__doc__)
    named = [name for found in REFERRED.findall(made.text) for name in [found]]
    for other in filter(None, (find_named(name, owner) for name in named)):
        if other is not function and getattr(other, "__doc__", None) != function.__doc__:
            _inherit(made, read_docstring(other, owner), list_parameters(function))
    return made


def find_named(name: str, owner=None):
    """Return the function of this name: of the class, of the package, or of one of its classes; None if there is none.

    :param name: such as ``publish``, ``Publisher.publish`` or ``flask_ssemux.publish``.
    """
    import flask_ssemux

    where = [owner] if owner is not None and "." not in name else []
    for found in [*where, flask_ssemux, flask_ssemux.SSEMux]:
        for part in name.replace("flask_ssemux.", "").split("."):
            found = getattr(found, part, None)
        if inspect.isfunction(found) or inspect.ismethod(found):
            return found
    return None


def _inherit(made: Docstring, other: Docstring, parameters) -> None:
    """Add what is missing: parameters that the function has, what it returns, and errors, if it names none itself."""
    own = {(kind, name) for kind, name, _ in made.fields}
    has_errors = any(kind == "raises" for kind, _ in own)
    for kind, name, text in other.fields:
        is_wanted = name in parameters if kind == "param" else kind == "return" or not has_errors
        if (kind, name) not in own and is_wanted:
            made.fields.append([kind, name, text])


def list_parameters(function) -> list[inspect.Parameter] | dict[str, inspect.Parameter]:
    """Return the parameters by name, without ``self``."""
    found = inspect.signature(function).parameters
    return {name: parameter for name, parameter in found.items() if name not in ("self", "cls")}


def to_markdown(text: str) -> str:
    """Return a docstring's text as Markdown: blocks after ``::`` are Python."""
    out, lines = [], text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if not line.endswith("::"):
            out.append(line)
            continue
        out += [line[:-1], ""]
        block = []
        while at < len(lines) and (not lines[at].strip() or lines[at].startswith(" ")):
            block.append(lines[at])
            at += 1
        out += ["```python", textwrap.dedent("\n".join(block)).strip("\n"), "```", ""]
    return convert_inline("\n".join(out)).strip()


def write_cell(text: str) -> str:
    """Return a text for a cell of a table. Python-Markdown takes a pipe within backticks as it is."""
    parts = text.split("`")
    return "`".join(part if number % 2 else part.replace("|", "\\|") for number, part in enumerate(parts))


def convert_inline(text: str) -> str:
    """Return a text with Markdown's backticks, also around the names of pages."""
    text = re.sub(r"(?<!`)``([^`]+)``(?!`)", r"`\1`", text)
    return re.sub(r"(?<![`\w/])docs/[\w/-]+\.md(?:#[\w-]+)?", r"`\g<0>`", text)
