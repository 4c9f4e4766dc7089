"""The reference of the Python API: an entry for each public name, made from its signature and its docstring.

A page of docs/reference/ asks for entries by a line ``<!-- python: publish send_to_user -->``; names are those of
``flask_ssemux``, or have a module before them (``testing.stream``). ``list_gaps`` says what an entry lacks.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

from docstrings import Docstring, convert_inline, list_parameters, read_docstring, to_markdown, write_cell

#: The classes whose functions stand once, as functions of the package.
SHORT_METHODS = {"SSEMux"}


def find_object(name: str):
    """Return the object of a public name, such as ``publish`` or ``testing.stream``."""
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module("flask_ssemux" + ("." + module if module else "")), last)


def list_members(name: str) -> list[tuple[str, object]]:
    """Return the public methods and properties of a class in the order of the source, base classes last."""
    owner, found = find_object(name), {}
    if not inspect.isclass(owner) or issubclass(owner, BaseException):
        return []
    for base in owner.__mro__[:-1]:
        if base.__module__.partition(".")[0] == "flask_ssemux" and not (base is not owner and name in SHORT_METHODS):
            for key, value in vars(base).items():
                is_shown = inspect.isfunction(value) or isinstance(value, property)
                if is_shown and not key.startswith("_"):
                    found.setdefault(key, value)
    return list(found.items())


def list_short_methods(name: str) -> list[str]:
    """Return the methods of a class that are functions of the package, too."""
    import flask_ssemux

    owner = find_object(name)
    taken = {key for key, _ in list_members(name)}
    return [key for key in flask_ssemux.__all__ if key not in taken and inspect.isfunction(getattr(owner, key, None))]


# -- pages ---------------------------------------------------------------------


class Index:
    """Where each public name has its entry.

    :param pages: the text of each page by its path in docs/.
    """

    REQUEST = re.compile(r"^<!-- python: ([\w. ]+) -->$", re.M)

    def __init__(self, pages: dict[str, str]) -> None:
        self.page_of: dict[str, str] = {}
        for path, text in pages.items():
            for name in " ".join(self.REQUEST.findall(text)).split():
                self.page_of[name] = path
                self.page_of.update({"%s.%s" % (name, key): path for key, _ in list_members(name)})

    def write_entries(self, names: list[str], page: str) -> str:
        return "\n\n".join(write_entry(name, lambda text, owner=None: self.link(text, page, owner)) for name in names)

    def link(self, text: str, page: str, owner: str | None = None) -> str:
        """Return a text in which names of the API in backticks are links to their entries."""

        def write_link(found):
            name = found[1].replace("flask_ssemux.", "")
            for key in ["%s.%s" % (owner, name)] * bool(owner) + [name, "SSEMux." + name]:
                if key in self.page_of:
                    target = "" if self.page_of[key] == page else self.page_of[key].rpartition("/")[2]
                    return "[`%s`](%s#%s)" % (found[1], target, make_anchor(key))
            return found[0]

        outside = re.split(r"(^```.*?^```$)", text, flags=re.S | re.M)
        outside[::2] = [re.sub(r"(?<!\[)`([\w.]+)`", write_link, part) for part in outside[::2]]
        return "".join(outside)

    def write_table(self, page: str) -> str:
        """Return a table of all public names of the package."""
        import flask_ssemux

        rows = ["| name | |", "|---|---|"]
        for name in flask_ssemux.__all__:
            about = get_about(name)
            rows.append("| `%s` | %s |" % (name, convert_inline(Docstring(about).summary)))
        return self.link("\n".join(rows), page)


def read_index() -> Index:
    """Return the index of docs/reference/."""
    docs = Path(__file__).resolve().parents[1]
    return Index(
        {str(path.relative_to(docs)): path.read_text(encoding="utf-8") for path in docs.glob("reference/*.md")}
    )


def make_anchor(name: str) -> str:
    return "flask_ssemux." + name


def get_about(name: str) -> str:
    """Return the docstring of an object; signals of blinker have theirs in an attribute of the object."""
    return find_object(name).__doc__ or ""


# -- entries -------------------------------------------------------------------


def write_entry(name: str, link) -> str:
    """Return the Markdown of a name's entry."""
    found = find_object(name)
    if inspect.isclass(found):
        return write_class(name, found, link)
    if callable(found) and (inspect.isfunction(found) or inspect.ismethod(found)):
        return write_function(name, found, link, level=3)
    return "%s\n\n%s" % (write_heading(name, 3), link(to_markdown(get_about(name))))


def write_class(name: str, found, link) -> str:
    made, parts = Docstring(found.__doc__), [write_heading(name, 3)]
    is_error = issubclass(found, BaseException)
    if not is_error and made.get_fields("param"):
        parts.append(write_signature(name, found))
    parts += [link(to_markdown(made.text), name), write_bases(found) if is_error else ""]
    parts += [write_parameters(found, made, link, name), write_attributes(found, made, link, name)]
    parts += [write_raises(made, link, name)]
    if name in SHORT_METHODS:
        parts.append(write_short_methods(name, link))
    parts += [write_member(name, key, member, found, link) for key, member in list_members(name)]
    return "\n\n".join(filter(None, parts))


def write_bases(found) -> str:
    bases = ["`%s`" % base.__name__ for base in found.__mro__[1:-2] if base is not Exception]
    return "A subclass of %s." % ", ".join(bases) if bases else ""


def write_short_methods(name: str, link) -> str:
    methods = ", ".join("`%s`" % key for key in list_short_methods(name))
    return link("These functions are its methods, too, with the same arguments: %s." % methods)


def write_member(name: str, key: str, member, owner, link) -> str:
    full = "%s.%s" % (name, key)
    if isinstance(member, property):
        made = Docstring(member.__doc__)
        shown = inspect.signature(member.fget).return_annotation
        parts = [write_heading(full, 4), "```python\n%s: %s\n```" % (key, shown), link(to_markdown(made.text), name)]
        return "\n\n".join(filter(None, [*parts, write_raises(made, link, name)]))
    return write_function(full, getattr(owner, key), link, level=4, owner=owner)


def write_function(name: str, function, link, level: int, owner=None) -> str:
    made, context = read_docstring(function, owner), name.rpartition(".")[0] or None
    parts = [
        write_heading(name, level),
        write_signature(name, function),
        link(to_markdown(made.text), context),
        write_parameters(function, made, link, context),
        write_returned(function, made, link, context),
        write_raises(made, link, context),
    ]
    return "\n\n".join(filter(None, parts))


def write_heading(name: str, level: int) -> str:
    return "%s `%s` { #%s }" % ("#" * level, name, make_anchor(name))


def write_signature(name: str, function) -> str:
    """Return the call with types and defaults, on one line if it fits."""
    last = name.rpartition(".")[2]
    shown, is_keyword_only = [], False
    for key, parameter in list_parameters(function).items():
        if parameter.kind is parameter.VAR_POSITIONAL or is_keyword_only:
            is_keyword_only = True
        elif parameter.kind is parameter.KEYWORD_ONLY:
            is_keyword_only = True
            shown.append("*")
        shown.append(_write_parameter(key, parameter))
    returned = "" if inspect.isclass(function) else _write_return(function)
    line = "%s(%s)%s" % (last, ", ".join(shown), returned)
    if len(line) > 88:
        line = "%s(\n    %s,\n)%s" % (last, ",\n    ".join(shown), returned)
    return "```python\n%s\n```" % line


def _write_parameter(key: str, parameter) -> str:
    stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    stars = "**" if parameter.kind is parameter.VAR_KEYWORD else stars
    shown = "%s%s: %s" % (stars, key, show_type(parameter))
    return shown if parameter.default is parameter.empty else "%s = %s" % (shown, show_default(parameter.default))


def _write_return(function) -> str:
    annotation = inspect.signature(function).return_annotation
    return "" if annotation is inspect.Signature.empty else " -> " + show_annotation(annotation)


def show_type(parameter) -> str:
    return "" if parameter.annotation is parameter.empty else show_annotation(parameter.annotation)


def show_annotation(annotation) -> str:
    annotation = getattr(annotation, "__forward_arg__", annotation)  # as in a NamedTuple
    shown = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return {"F": "function", "Callable[[F], F]": "decorator"}.get(shown, shown)


def show_default(value) -> str:
    return "…" if type(value) is object else repr(value)


def write_parameters(function, made: Docstring, link, owner=None) -> str:
    about, rows = made.get_fields("param"), []
    if inspect.isclass(function) and not about:
        return ""
    for key, parameter in list_parameters(function).items():
        if key in about or not inspect.isclass(function):
            kind = write_cell("`%s`" % show_type(parameter)) if show_type(parameter) else ""
            rows.append("| `%s` | %s | %s |" % (key, kind, link(write_cell(convert_inline(about.get(key, ""))), owner)))
    return "\n".join(["| parameter | type | |", "|---|---|---|", *rows]) if rows else ""


def write_attributes(found, made: Docstring, link, owner=None) -> str:
    rows = []
    for key, about in made.get_fields("ivar").items():
        rows.append("| `%s` | %s |" % (key, link(write_cell(convert_inline(about)), owner)))
    return "\n".join(["| attribute | |", "|---|---|", *rows]) if rows else ""


def write_returned(function, made: Docstring, link, owner=None) -> str:
    about = made.get_fields("return").get("")
    return "**Returns** " + link(convert_inline(about), owner) if about else ""


def write_raises(made: Docstring, link, owner=None) -> str:
    rows = []
    for kind, name, about in made.fields:
        if kind == "raises":
            rows.append("| `%s` | %s |" % (name, write_cell(convert_inline(about))))
    return link("\n".join(["| raises | if |", "|---|---|", *rows]), owner) if rows else ""


# -- what is missing -------------------------------------------------------------


def list_gaps(name: str) -> list[str]:
    """Return what an entry and those of its members lack, each as a sentence."""
    found = find_object(name)
    gaps = [] if get_about(name).strip() else ["%s has no docstring" % name]
    if inspect.isclass(found):
        if not issubclass(found, BaseException):
            gaps += _list_class_gaps(name, found)
    elif inspect.isfunction(found) or inspect.ismethod(found):
        gaps += list_function_gaps(name, found)
    return gaps


def _list_class_gaps(name: str, found) -> list[str]:
    gaps = []
    for key, member in list_members(name):
        full = "%s.%s" % (name, key)
        if isinstance(member, property):
            gaps += [] if (member.__doc__ or "").strip() else ["%s has no docstring" % full]
        else:
            gaps += list_function_gaps(full, getattr(found, key), found)
    return gaps


def list_function_gaps(name: str, function, owner=None) -> list[str]:
    """Return what a function's entry lacks: a sentence and a type for each parameter, what it returns."""
    made = read_docstring(function, owner)
    about, gaps = made.get_fields("param"), [] if made.text else ["%s has no docstring" % name]
    for key, parameter in list_parameters(function).items():
        if parameter.annotation is parameter.empty:
            gaps.append("%s: the parameter %s has no type" % (name, key))
        if key not in about:
            gaps.append("%s: the parameter %s is not described" % (name, key))
    returned = inspect.signature(function).return_annotation
    is_said = "" in made.get_fields("return") or re.search(r"\b[Rr]eturns?\b|decorat|Register|Open streams", made.text)
    if returned is inspect.Signature.empty:
        gaps.append("%s: it is not said what type it returns" % name)
    elif returned not in ("None", None) and not is_said:
        gaps.append("%s: it is not said what it returns" % name)
    return gaps


def list_errors(name: str) -> list[str]:
    """Return the names of the errors that a function or class documents."""
    found = find_object(name)
    made = Docstring(found.__doc__) if inspect.isclass(found) else read_docstring(found)
    return list(made.get_fields("raises"))
