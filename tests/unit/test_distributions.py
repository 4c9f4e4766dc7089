"""What is published: one version, an archive that holds the repository, pins that fit, oldest versions that are tried.

`make dist` and `make dist-check` do the rest, which takes minutes: twine, the wheel, and installations on each Python.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

import flask_ssemux
from tests import distributions
from tests.distributions import ROOT, list_differences, spell_for_npm

SETUP = configparser.ConfigParser()
SETUP.read(str(ROOT / "setup.cfg"), encoding="utf-8")
MATRIX = (ROOT / "tests" / "matrix.py").read_text(encoding="utf-8")


def list_requirements(section: str, key: str) -> dict[str, str]:
    """Return the requirements of an option of setup.cfg: the name, and the rest without marker."""
    lines = [line.split(";")[0].strip() for line in SETUP[section][key].splitlines()]
    matches = [re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(.*)", line) for line in lines if line and line[0] != "#"]
    return {match[1].lower(): match[2].strip() for match in matches}


# -- versions ----------------------------------------------------------------


@pytest.mark.parametrize(
    "version, spelled", [("1.0.0", "1.0.0"), ("1.0.0rc1", "1.0.0-rc.1"), ("1.2.0b3", "1.2.0-beta.3")]
)
def test_versions_are_spelled_as_npm_wants_them(version, spelled):
    assert spell_for_npm(version) == spelled


def test_the_npm_package_has_the_version_of_the_python_package():
    described = json.loads((ROOT / "client" / "package.json").read_text(encoding="utf-8"))
    assert described["version"] == spell_for_npm(flask_ssemux.__version__)


def test_the_change_log_has_the_version_and_the_sections_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## (.*)$", text, re.M)
    assert releases[0] == "[Unreleased]"
    assert re.fullmatch(r"\[%s\](?: - \d{4}-\d\d-\d\d)?" % re.escape(flask_ssemux.__version__), releases[1])
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


# -- the source archive --------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A source archive of the files that git tracks, as they are in the work tree."""
    pytest.importorskip("setuptools", minversion="61")
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout, so there is nothing to compare a source archive with")
    folder = tmp_path_factory.mktemp("checkout")
    for name in list_tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(ROOT / name), str(folder / name))
    code = "from setuptools import build_meta; build_meta.build_sdist('dist')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=str(folder), check=True, capture_output=True)
    return next((folder / "dist").glob("*.tar.gz"))


def list_tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=str(ROOT), stdout=subprocess.PIPE, check=True).stdout
    return {name for name in listed.decode().split("\0") if name and (ROOT / name).exists()}


def test_a_source_archive_holds_what_the_repository_holds(archive):
    assert list_differences(archive, list_tracked()) == []


def test_a_missing_page_is_noticed(archive):
    assert list_differences(archive, list_tracked() | {"docs/new.md"}) == ["docs/new.md"]


def test_a_wheel_takes_all_pages_along():
    """Each folder below docs/ needs a line of its own in setup.cfg, under `options.data_files`. docs/generate has no
    pages, but what builds the site.
    """
    patterns = [pattern.strip() for files in SETUP["options.data_files"].values() for pattern in files.split(",")]
    taken = {path for pattern in patterns for path in ROOT.glob(pattern)}
    pages = {path for path in (ROOT / "docs").rglob("*.*") if path.suffix in (".md", ".svg", ".png")}
    assert len(pages) > 40
    assert sorted(pages - taken) == []


# -- the promise -----------------------------------------------------------------


def test_the_promise_names_modules_and_pages_that_exist():
    promise = (ROOT / "docs" / "stability.md").read_text(encoding="utf-8")
    named = promise.split("\n## What is public\n")[1].split("\n## What is not public\n")[0]
    modules = {name for name in re.findall(r"`(flask_ssemux\.[a-z_]+)`", named) if name != "flask_ssemux.__all__"}
    assert len(modules) == 5
    assert all(importlib.util.find_spec(name) for name in modules)
    pages = set(re.findall(r"`((?:docs|deploy)/[\w./-]+|README\.md)`", named))
    assert len(pages) > 10 and all((ROOT / page).is_file() for page in pages)


# -- dependencies --------------------------------------------------------------


@pytest.mark.parametrize("extra", ["test", "dev", "redis", "postgres", "metrics", "otel"])
def test_every_requirement_is_pinned_with_hashes(extra):
    """After a change of setup.cfg, `make lock` renews the pins."""
    packaging = pytest.importorskip("packaging.specifiers")
    pins = read_pins("dev.txt")
    needed = {**list_requirements("options", "install_requires"), **list_requirements("options.extras_require", extra)}
    for name, allowed in needed.items():
        assert name in pins, "requirements/dev.txt has no %s: run `make lock`" % name
        assert all(version in packaging.SpecifierSet(allowed) for version in pins[name]), (name, pins[name])


def read_pins(name: str) -> dict[str, list[str]]:
    """Return the pinned versions by package; each must have a hash."""
    pins: dict[str, list[str]] = {}
    for pin in re.split(r"\n(?=[\w])", (ROOT / "requirements" / name).read_text(encoding="utf-8")):
        found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", pin)
        if found:
            assert "--hash=sha256:" in pin, pin
            pins.setdefault(found[1].lower(), []).append(found[2])
    return pins


@pytest.mark.parametrize("name", ["release", "docs"])
def test_the_tools_are_pinned(name):
    tools = (ROOT / "requirements" / (name + ".in")).read_text(encoding="utf-8").splitlines()
    named = {re.match(r"[\w-]+", line)[0] for line in tools if line and not line.startswith("#")}
    assert named and named <= set(read_pins(name + ".txt"))


@pytest.mark.parametrize("option", ["install_requires", "redis", "postgres", "metrics", "otel"])
def test_the_oldest_stack_has_the_oldest_version_of_each_dependency(option):
    section = "options" if option == "install_requires" else "options.extras_require"
    stack = re.search(r'"oldest": Stack\((.*?)\n    \),', MATRIX, re.S)[1]
    for name, allowed in list_requirements(section, option).items():
        oldest = allowed.replace(">=", "")
        assert re.search(r'"%s(?:\[\w+\])?==%s(?:\.0)*"' % (name, re.escape(oldest)), stack), (name, allowed)


def test_releases_are_tried_on_the_oldest_and_the_newest_python():
    oldest = SETUP["options"]["python_requires"].replace(">=", "")
    named = re.findall(r"Python :: (3\.\d+)", SETUP["metadata"]["classifiers"])
    assert (oldest, named[-1]) == distributions.PYTHONS
    assert 'python="%s"' % oldest in MATRIX or '"%s",' % oldest in MATRIX


# -- the workflow ----------------------------------------------------------------


def test_a_release_is_published_with_provenance_and_without_secrets():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert "secrets." not in text
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        publishes = name.startswith("publish-")
        assert (job.get("permissions", {}).get("id-token") == "write") == publishes, name
        assert ("vars.PUBLISH == 'yes'" in str(job.get("if"))) == publishes, name
    assert "--provenance" in text and "attest-build-provenance" in text
