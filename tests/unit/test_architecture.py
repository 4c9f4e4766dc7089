"""The package is built as docs/architecture.md says: its imports, its files and functions, its locks."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "flask_ssemux"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

#: Each file of the package, by its path inside the package.
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

#: Where a function is looked for if its line names no file.
SOURCES = [*FILES.values(), *sorted(ROOT.joinpath("client", "src").glob("*.js"))]

LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "make_native_lock"}


def get_part(name):
    """Return the text of the page between two comments of this name."""
    return PAGE.split("<!-- %s -->\n" % name)[1].split("<!-- /%s -->" % name)[0]


def get_rows(name):
    """Return the cells of a table between two comments of this name, without backticks."""
    lines = get_part(name).strip().splitlines()[2:]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split(" | ")] for line in lines]


# -- imports ---------------------------------------------------------------------------


def find_file(parts):
    """Return the file that is the module of this name, inside the package; None if there is no such module."""
    for name in ("/".join(parts) + ".py", "/".join([*parts, "__init__.py"])):
        if name.lstrip("/") in FILES:
            return name.lstrip("/")
    return None


def list_imports(name):
    """Yield the files of the package that a file imports, and whether an import only serves type checkers."""
    tree, parents = TREES[name], list(Path(name).parts[:-1])
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in node.body
        for inner in ast.walk(child)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                base = parents[: len(parents) - node.level + 1] + base
            elif base[0] == "flask_ssemux":
                base = base[1:]
            else:
                continue
            for alias in node.names:
                yield find_file([*base, alias.name]) or find_file(base), node in for_types
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "flask_ssemux":
                    yield find_file(alias.name.split(".")[1:]), node in for_types


IMPORTS = {name: set(list_imports(name)) for name in FILES}


def get_place(name):
    """Return the folder of a file, or the name of a module in the root."""
    return Path(name).parts[0] if "/" in name else name[: -len(".py")]


def get_order():
    return [re.findall(r"`(\w+)`", line) for line in get_part("order").strip().splitlines()]


def test_the_page_explains_these_dependencies_between_folders():
    for importing, imported, _ in get_rows("explained"):
        files, targets = importing.split(", "), imported.split(", ")
        pair = (get_place(files[0]), get_place(targets[0]))
        found = {(name, target) for name in FILES for target, _ in IMPORTS[name]}
        between = [(name, target) for name, target in found if (get_place(name), get_place(target)) == pair]
        assert {name for name, _ in between} == set(files)
        assert {target for _, target in between} == set(targets)


def find_circle(name, callers, done):
    """Return a circle of imports that can be reached from a file, as the names on it; or None."""
    if name in callers:
        return callers[callers.index(name) :]
    if name in done:
        return None
    targets = [target for target, is_for_types in IMPORTS[name] if not is_for_types]
    circles = [find_circle(target, (*callers, name), done) for target in targets]
    done.add(name)
    return next(filter(None, circles), None)


def test_each_import_is_resolved():
    assert [name for name, imported in IMPORTS.items() if None in {target for target, _ in imported}] == []


def test_every_folder_and_module_has_a_place_in_the_order():
    assert {get_place(name) for name in FILES} == {place for level in get_order() for place in level}


def test_no_import_runs_against_the_order_but_those_that_the_page_names():
    level_of = {place: number for number, level in enumerate(get_order()) for place in level}
    against = {
        (name, target)
        for name, imported in IMPORTS.items()
        for target, _ in imported
        if get_place(name) != get_place(target) and level_of[get_place(target)] <= level_of[get_place(name)]
    }
    assert against == {(row[0], row[1]) for row in get_rows("exceptions")}


def test_no_files_import_each_other_in_a_circle():
    done: set[str] = set()
    assert [circle for name in FILES for circle in [find_circle(name, (), done)] if circle] == []


# -- sizes -----------------------------------------------------------------------------


def test_the_root_has_few_modules():
    modules = [name for name in FILES if "/" not in name]
    assert len(modules) <= 12, modules


def test_no_file_is_long():
    long = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


# -- what the page names ---------------------------------------------------------------


def list_lines():
    """Return the page's lines outside code blocks."""
    return re.sub(r"^```.*?^```$", "", PAGE, flags=re.M | re.S).splitlines()


def is_path(word):
    return bool(re.fullmatch(r"[\w./-]+(\.(py|js|lua|sh|md|cfg|vcl)|/)", word)) and word != "/"


def find_path(word):
    return next((path for path in (PACKAGE / word, ROOT / word) if path.exists()), None)


@lru_cache(maxsize=None)
def list_names(path):
    """Return the functions and classes that a file defines, methods also with their class."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        return set(re.findall(r"^ *(?:async |get |export |function )*(#?\w+)\(.*\{$", text, re.M))
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            names |= {"%s.%s" % (node.name, it.name) for it in node.body if isinstance(it, ast.FunctionDef)}
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names.add(node.name)
    return names


def list_missing(line):
    """Yield what a line names and is not there: a file, or a function that none of the line's files defines."""
    words = re.findall(r"`([^`]+)`", line)
    paths = [find_path(word) for word in words if is_path(word)]
    yield from (word for word in words if is_path(word) and find_path(word) is None)
    sources = [path for path in paths if path is not None and path.suffix in (".py", ".js")] or SOURCES
    names = set().union(*map(list_names, sources))
    for word in words:
        if re.fullmatch(r"#?\w+(\.\w+)*\(\)", word) and word[:-2] not in names:
            yield word


def test_the_files_and_functions_that_the_page_names_exist():
    missing = {line: found for line in list_lines() for found in [list(list_missing(line))] if found}
    assert missing == {}


@pytest.mark.parametrize("name", ["order", "explained", "exceptions", "locks"])
def test_the_page_has_its_parts(name):
    assert get_part(name).strip()


# -- locks -----------------------------------------------------------------------------


def get_name(node):
    """Return the last name in an expression such as ``threading.Lock``; "" if there is none."""
    return getattr(node, "attr", getattr(node, "id", ""))


def list_locks(name):
    """Yield the names under which a file keeps the locks that it makes."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            used = list(ast.walk(node.value))
            called = {get_name(it.func) for it in used if isinstance(it, ast.Call)}
            if called & LOCKS or ("OncePerProcess" in called and LOCKS.intersection(map(get_name, used))):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    yield from map(get_name, getattr(target, "elts", [target]))


def test_the_page_names_every_lock():
    made = {(name, lock) for name in FILES for lock in list_locks(name)}
    assert made == {tuple(pair.split(": ")) for row in get_rows("locks") for pair in row[1].split(", ")}
