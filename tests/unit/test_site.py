"""The documentation's site: it is built without network and warnings, and what code and README name is on it.

The pages' English is tested in test_prose.py, and the pages in a browser in tests/browser/test_site.py.
"""

from __future__ import annotations

import inspect
import posixpath
import re
import sys
from urllib.parse import unquote

import pytest

import flask_ssemux
from flask_ssemux import errors, testing
from flask_ssemux.cli import make_commands
from flask_ssemux.hub.resume import ResetReason
from flask_ssemux.options import list_options
from flask_ssemux.status import metrics
from tests.harness.servers import ROOT
from tests.harness.site import build_site, is_foreign, read_pages

sys.path.insert(0, str(ROOT / "docs" / "generate"))

import docstrings  # noqa: E402
import javascript_reference  # noqa: E402
import python_reference  # noqa: E402

#: A page, perhaps with an anchor, as code, messages and documents outside of docs/ name it.
NAMED = re.compile(r"\bdocs/([\w/-]+)\.md(?:#([\w-]+))?")
NAMING = (
    "flask_ssemux/**/*.py",
    "client/src/*.js",
    "client/*.*",
    "deploy/*",
    "legacy_app/**/*.*",
    "*.md",
    "*.*",
    "*file",
)

FLASK_SSE = ["flask_sse.ServerSentEventsBlueprint", "flask_sse.Message"]
PUBLIC = [*flask_ssemux.__all__, *("testing." + name for name in testing.__all__), *FLASK_SSE]
#: What raises no error of its own.
RAISES_NOTHING = {
    "Publisher.close", "SSEMux.allow_status", "current_fence", "flask_sse.Message.to_dict", "testing.OpenStream.close",
}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    return folder, build_site(folder)


@pytest.fixture(scope="module")
def site(built):
    """The pages by their paths."""
    folder, done = built
    assert done.returncode == 0, done.stdout
    return read_pages(folder)


def test_it_is_built_without_warnings_and_without_network(built):
    _, done = built
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines()} == {"INFO"}, done.stdout


def test_it_has_four_parts(site):
    html = site["index.html"].path.read_text(encoding="utf-8")
    tabs = re.findall(r'class="md-tabs__link">\s*(.*?)\s*</a>', html, re.S)
    assert [re.sub(r"<.*?>|\s", "", tab) for tab in tabs] == ["Start", "Tutorial", "How-to", "Reference", "Explanation"]


# -- links and files -------------------------------------------------------------


def test_pages_load_files_of_the_site_only(site):
    for name, page in site.items():
        for url in page.loads:
            assert not is_foreign(url), (name, url)
            assert (page.path.parent / unquote(re.split("[?#]", url)[0])).is_file(), (name, url)


def test_styles_load_files_of_the_site_only(built, site):
    for path in built[0].rglob("*.css"):
        loaded = re.findall(r"url\(['\"]?(.*?)['\"]?\)|@import\s*['\"](.*?)['\"]", path.read_text(encoding="utf-8"))
        assert not [url for found in loaded for url in found if url and is_foreign(url) and url[:5] != "data:"], path


def test_all_links_lead_somewhere(site):
    ids = {name: page.ids for name, page in site.items()}
    for name, page in site.items():
        for url in page.links:
            if not is_foreign(url):
                path, _, anchor = unquote(url).partition("#")
                target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
                assert target in ids, (name, url)
                assert not anchor or anchor in ids[target], (name, url)


# -- what names a page -----------------------------------------------------------


def list_named():
    files = {path for pattern in NAMING for path in ROOT.glob(pattern) if path.is_file() and path.suffix != ".tgz"}
    found = set()
    for path in files:
        found |= set(NAMED.findall(path.read_text(encoding="utf-8")))
    return sorted(found)


@pytest.mark.parametrize("page, anchor", list_named())
def test_a_page_that_code_or_readme_names_is_there(site, page, anchor):
    assert page + ".html" in site
    assert not anchor or anchor in site[page + ".html"].ids


def test_pages_are_named_in_errors_options_readme_and_client():
    named = {page for page, _ in list_named()}
    assert {"redis", "client", "blocking", "flask-sse", "reference/index", "runs"} <= named


# -- the reference ---------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_complete_entry(site, name):
    assert python_reference.list_gaps(name) == []
    page = python_reference.read_index().page_of[name].replace(".md", ".html")
    for full in [name, *("%s.%s" % (name, key) for key, _ in python_reference.list_members(name))]:
        assert python_reference.make_anchor(full) in site[page].ids


@pytest.mark.parametrize("name", PUBLIC)
def test_the_errors_of_a_function_are_said(name):
    found = python_reference.find_object(name)
    members = {"%s.%s" % (name, key): getattr(found, key) for key, _ in python_reference.list_members(name)}
    functions = members if inspect.isclass(found) else {name: found}
    for full, function in functions.items():
        if inspect.isfunction(function) or inspect.ismethod(function):
            owner = found if inspect.isclass(found) else None
            raised = docstrings.read_docstring(function, owner).get_fields("raises")
            assert bool(raised) != (full in RAISES_NOTHING), full


def test_all_methods_of_the_extension_have_entries():
    methods = {key for key, value in vars(flask_ssemux.SSEMux).items() if callable(value) and key[0] != "_"}
    inherited = {key for key in dir(flask_ssemux.SSEMux) if key[0] != "_"} - methods
    assert methods == {key for key, _ in python_reference.list_members("SSEMux")}
    assert inherited == set(python_reference.list_short_methods("SSEMux"))


@pytest.mark.parametrize("wrong, gap", [
    ("def f(a: int) -> None:\n    '''Do.'''", "f: the parameter a is not described"),
    ("def f(a) -> None:\n    '''Do.\n\n    :param a: it.'''", "f: the parameter a has no type"),
    ("def f() -> int:\n    '''Do.'''", "f: it is not said what it returns"),
    ("def f() -> None:\n    pass", "f has no docstring"),
])  # fmt: skip
def test_a_gap_is_noticed(wrong, gap):
    names = {}
    exec(wrong, names)
    assert python_reference.list_function_gaps("f", names["f"]) == [gap]


def test_an_entry_has_the_parts_of_what_its_docstring_refers_to():
    made = docstrings.read_docstring(flask_ssemux.send_to_user_on_commit)
    assert {"user_id", "data", "session"} <= set(made.get_fields("param"))
    assert "InvalidEvent" in made.get_fields("raises")


def test_each_error_says_when_and_what_to_do(site):
    text = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    client = {
        name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, errors.ClientError)
    }
    assert named == {name for name, value in vars(errors).items() if inspect.isclass(value)} - client
    answers = site["reference/http.html"].text
    assert all(getattr(errors, name).code in answers for name in client - {"ClientError"})


def test_each_option_has_an_entry(site):
    page = site["reference/options.html"]
    for key, _, about in list_options():
        assert key.lower() in page.ids
        assert about.split("`")[0].split(";")[0].lower() in page.text.lower()


def test_each_command_has_an_entry(site):
    page = site["reference/commands.html"]
    for name, command in make_commands().commands.items():
        assert name in page.ids
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.opts[0] in page.text, (name, parameter.opts)


def test_each_metric_has_an_entry(site):
    page = site["reference/metrics.html"]
    for metric in metrics._OF_WORKERS:
        assert "ssemux_" + metric.name + ("_total" if metric.is_counter else "") in page.ids


def test_each_setting_of_gunicorn_has_a_row(site):
    source = (ROOT / "flask_ssemux" / "gunicorn_conf.py").read_text(encoding="utf-8")
    names = re.findall(r'"(\w+)"', re.search(r"__all__ = \[(.*?)\]", source, re.S)[1])
    assert "worker_connections" in names
    assert all(name in site["reference/gunicorn.html"].text for name in names)


def test_each_event_of_ours_has_a_row(site):
    """Events are made by `make_own_frame` and `make_stay_away_frame`; a name may be a constant of its module."""
    text, names = site["reference/wire.html"].text, set()
    for path in (ROOT / "flask_ssemux").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        names |= set(re.findall(r'make_(?:own|stay_away)_frame\(\s*"(\w+)"', source))
    assert {"hello", "reset", "degraded", "restored", "stop", "replaced", "run", "status"} == names | {"stop"}
    assert all("ssemux." + name in text for name in names | {"probe", "stop"})
    assert all(reason.value in text for reason in ResetReason)


def test_the_client_s_types_have_entries(site):
    page = site["reference/javascript.html"]
    for module in javascript_reference.list_modules():
        source = (ROOT / "client" / (module + ".d.ts")).read_text(encoding="utf-8")
        exported = re.findall(r"^export (?:interface|class|type|const|function) (\w+)", source, re.M)
        found = {each.name: each for each in javascript_reference.read_declarations(module)}
        assert exported and all(found[name].anchor in page.ids for name in exported), module


def test_the_client_s_types_say_what_they_are():
    assert javascript_reference.list_gaps() == []


def test_what_is_made_from_code_is_not_in_the_repository():
    """A page with an entry that is written by hand would go stale."""
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md")}
    written = [path for path, text in texts.items() if re.search(r"^\| `SSEMUX_\w+` \| .* \| .* \|$", text, re.M)]
    assert written == []
