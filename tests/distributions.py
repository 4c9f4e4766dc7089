"""Builds and checks what is published: `make dist`, `make dist-check` and the version of the npm package.

``build`` makes the source archive, the wheel and the SBOM of the last commit, and has twine check them. ``check``
installs them into empty environments, on the oldest and the newest Python, with each extra, and runs the README's
quickstart and the tutorial there. ``npm`` writes the version into client/package.json. No test of the package's
behaviour belongs here. It runs with the packages of requirements/release.txt.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.harness.document import block, command, files  # noqa: E402

DIST = ROOT / "dist"
#: What `make clean` removes, and no upload takes.
SBOM_FOLDER = ROOT / "build" / "sbom"

#: The oldest Python of `python_requires`, and the newest of the classifiers: both are looked for on PATH and in pyenv.
PYTHONS = ("3.8", "3.13")
#: Extras of the people who change the package. They are resolved, not installed: they hold a hundred packages.
RESOLVED_ONLY = {"test", "bench", "dev"}

#: The files of a source archive that setuptools makes.
MADE = re.compile(r"PKG-INFO|setup\.cfg|flask_ssemux\.egg-info/.*")


def main() -> None:
    commands = {"build": build, "check": check, "npm": write_npm_version}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit("usage: python tests/distributions.py build|check|npm")
    commands[sys.argv[1]]()


# -- build -------------------------------------------------------------------


def build() -> None:
    """Write dist/ and the SBOM from a clean checkout of the last commit."""
    shutil.rmtree(str(DIST), ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        checkout = Path(name) / "flask_ssemux"
        moment = check_out(checkout)
        env = {**os.environ, "SOURCE_DATE_EPOCH": moment, "PYTHONWARNINGS": "ignore"}
        run_python("-m", "build", "--no-isolation", "--outdir", DIST, checkout, env=env, quiet=True)
        compare(checkout)
    run_python("-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    write_sbom()
    for path in [*sorted(DIST.iterdir()), *SBOM_FOLDER.iterdir()]:
        print("%9d bytes  %s" % (path.stat().st_size, path.relative_to(ROOT)))


def check_out(folder: Path) -> str:
    """Copy the last commit's files; return its time, in Unix seconds. In a source archive, copy the archive's files."""
    if not (ROOT / ".git").exists():
        shutil.copytree(str(ROOT), str(folder), ignore=shutil.ignore_patterns(".venv", "node_modules", "dist", "build"))
        return str(int((ROOT / "PKG-INFO").stat().st_mtime))
    if git("status", "--porcelain"):
        print("==> files that differ from the last commit are not in the distributions", file=sys.stderr)
    folder.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=str(ROOT), stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "x"], cwd=str(folder), input=archive, check=True)
    return git("log", "-1", "--format=%ct").strip()


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=str(ROOT), stdout=subprocess.PIPE, check=True, text=True).stdout


def compare(checkout: Path) -> None:
    """Exit if the source archive does not hold exactly the checkout, or the wheel not all documentation."""
    tracked = {str(path.relative_to(checkout)) for path in checkout.rglob("*") if path.is_file()}
    (archive,), (wheel,) = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    differing = list_differences(archive, tracked)
    lacking = sorted(list_docs(tracked) - list_wheel_docs(wheel))
    if differing or lacking:
        sys.exit("source archive and checkout differ by %s; the wheel lacks %s" % (differing, lacking))


def list_differences(archive: Path, tracked: set[str]) -> list[str]:
    """Return the paths that only one has of the source archive and the tracked files."""
    return sorted(list_source_files(archive) ^ {name for name in tracked if not MADE.fullmatch(name)})


def list_source_files(archive: Path) -> set[str]:
    """Return the paths in a source archive, without its first folder and without what setuptools makes."""
    with tarfile.open(str(archive)) as opened:
        names = {member.name.partition("/")[2] for member in opened.getmembers() if member.isfile()}
    return {name for name in names if not MADE.fullmatch(name)}


def list_docs(names: set[str]) -> set[str]:
    """Return the pages and pictures among these paths, without what builds the site from them."""
    return {name for name in names if name.startswith("docs/") and not name.startswith("docs/generate/")}


def list_wheel_docs(wheel: Path) -> set[str]:
    """Return the paths of the documentation in a wheel, as the repository has them."""
    with zipfile.ZipFile(str(wheel)) as opened:
        return {name.partition("/share/doc/flask_ssemux/")[2] for name in opened.namelist()} - {""}


# -- SBOM --------------------------------------------------------------------


def write_sbom() -> None:
    """Write which packages an installation with all extras of applications consists of today, as CycloneDX."""
    (wheel,) = DIST.glob("*.whl")
    metadata = read_metadata(wheel)
    extras = ",".join(list_extras(metadata) - RESOLVED_ONLY)
    SBOM_FOLDER.mkdir(parents=True, exist_ok=True)
    out = SBOM_FOLDER / ("flask_ssemux-%s.cdx.json" % metadata["Version"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = make_environment(sys.executable, folder / "venv")
        pip(python, "install", "%s[%s]" % (wheel, extras))
        pip(python, "uninstall", "--yes", "pip", "setuptools", "flask_ssemux")
        (folder / "pyproject.toml").write_text(describe_root(metadata), encoding="utf-8")
        options = ["--pyproject", folder / "pyproject.toml", "--output-reproducible", "--output-file", out]
        run_python("-m", "cyclonedx_py", "environment", *options, python, quiet=True)
    print("==> SBOM of %d packages" % len(json.loads(out.read_text())["components"]))


def describe_root(metadata: Message) -> str:
    """Return a pyproject.toml from which cyclonedx-py reads the package that the SBOM describes."""
    needed = [line for line in metadata.get_all("Requires-Dist") or [] if not belongs_to(line, RESOLVED_ONLY)]
    needed = [line.partition(";")[0].strip() for line in needed]
    table = {"name": "flask_ssemux", "version": metadata["Version"], "description": metadata["Summary"]}
    lines = ["%s = %s" % (key, json.dumps(value)) for key, value in {**table, "dependencies": needed}.items()]
    return "\n".join(["[project]", *lines, 'license = {text = "MIT"}', ""])


def belongs_to(requirement: str, extras: set[str]) -> bool:
    found = re.search(r"""extra == ['"](\w+)""", requirement)
    return found is not None and found[1] in extras


def read_metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(str(wheel)) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(opened.read(name).decode())


def list_extras(metadata: Message) -> set[str]:
    return set(metadata.get_all("Provides-Extra") or [])


# -- check -------------------------------------------------------------------


def check() -> None:
    """Install the distributions into empty environments on each Python, and run README and tutorial there."""
    (wheel,), (archive,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    for version in PYTHONS:
        program = find_python(version)
        check_install(program, str(archive), run=True)
        for extra in sorted(list_extras(read_metadata(wheel))):
            check_install(program, "%s[%s]" % (wheel, extra), run=extra not in RESOLVED_ONLY)


def find_python(version: str) -> str:
    """Return the program of a Python, from PATH or from pyenv; exit if there is none."""
    pattern = "versions/%s.*/bin/python%s" % (version, version)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for program in ["python" + version, *map(str, sorted(root.glob(pattern)))]:
        found = shutil.which(program)
        if found and subprocess.run([found, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
            return found
    sys.exit(
        "Python %s is neither on PATH nor under pyenv's root; it is one of those that a release is tried on" % version
    )


def check_install(program: str, requirement: str, *, run: bool) -> None:
    shown = "%s: %s" % (program, requirement.rpartition("/")[2])
    with tempfile.TemporaryDirectory() as name:
        python = make_environment(program, Path(name) / "venv")
        pip(python, "install", *([] if run else ["--dry-run"]), requirement)
        if run:
            pip(python, "check")
            run_quickstart(python, Path(name) / "quickstart")
            run_tutorial(python, Path(name) / "tutorial")
    print("==> %s %s" % ("works with" if run else "can be resolved with", shown), flush=True)


def make_environment(program: str, folder: Path) -> Path:
    subprocess.run([program, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip(python, "install", "--upgrade", "pip")
    return python


def pip(python: Path, *arguments: str) -> None:
    quiet = {"PIP_QUIET": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONWARNINGS": "ignore"}
    subprocess.run(
        [str(python), "-m", "pip", *arguments], env={**os.environ, **quiet}, stdout=subprocess.DEVNULL, check=True
    )


def run_quickstart(python: Path, folder: Path) -> None:
    """Serve the README's shop.py with the environment's gunicorn, publish an event, and read it from a stream."""
    folder.mkdir()
    (folder / "shop.py").write_text(block("../README.md", "python", "# shop.py"), encoding="utf-8")
    with serve(python, folder, command("../README.md", "gunicorn")) as url:
        see_events(url, {"/sell": '{"sold":1}'})


def run_tutorial(python: Path, folder: Path) -> None:
    """Serve the tutorial's shop as it is after three of its pages, and read events from a stream."""
    folder.mkdir()
    sale, notice = {"/sell": '{"item":"lamp"}'}, {"/ship/ann": "Your lamp is on its way."}
    files("tutorial/live-page.md", folder)
    with serve(python, folder, command("tutorial/live-page.md", "gunicorn")) as url:
        see_events(url, sale, method="POST")
    files("tutorial/two-workers.md", folder)
    with serve(python, folder, command("tutorial/two-workers.md", "gunicorn")) as url:
        see_events(url, sale, method="POST")
    files("tutorial/own-events.md", folder)
    with serve(python, folder, command("tutorial/two-workers.md", "gunicorn")) as url:
        see_events(url, {**sale, **notice}, method="POST", login="/login/ann")


@contextlib.contextmanager
def serve(python: Path, folder: Path, line: str) -> Iterator[str]:
    """Run gunicorn's command line of a document with the environment's gunicorn; yield its URL."""
    program = [str(python), "-m", *shlex.split(line), "-b", "127.0.0.1:0"]
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with open(str(folder / "log"), "w+") as log:
        server = subprocess.Popen(program, cwd=str(folder), env=env, stderr=log)
        try:
            yield wait_for_address(folder / "log", server)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def wait_for_address(log: Path, server: subprocess.Popen[bytes]) -> str:
    """Return the URL that gunicorn's log names; exit if gunicorn ends or does not listen within 30 s."""
    until = time.monotonic() + 30
    while time.monotonic() < until and server.poll() is None:
        found = re.search(r"Listening at: (http://\S+)", log.read_text())
        if found:
            return found.group(1)
        time.sleep(0.05)
    sys.exit("gunicorn does not serve the shop:\n" + log.read_text())


def see_events(url: str, requests: dict[str, str], *, method: str = "GET", login: str = "") -> None:
    """Read a stream, and wait after each request for the data that it publishes.

    :param requests: by path: the data of the event.
    :param login: the path that gives the stream's session its user.
    """
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    if login:
        browser.open(url + login, timeout=30).close()
    with browser.open(url + "/events?channel=news", timeout=30) as stream:
        while b"ssemux.hello" not in stream.readline():
            pass
        for path, data in requests.items():
            browser.open(urllib.request.Request(url + path, method=method), timeout=30).close()
            while stream.readline() != ("data: %s\n" % data).encode():
                pass


# -- npm ---------------------------------------------------------------------


def write_npm_version() -> None:
    """Write the version of flask_ssemux/version.py into client/package.json, in npm's spelling."""
    source = (ROOT / "flask_ssemux" / "version.py").read_text(encoding="utf-8")
    version = re.findall(r'__version__ = "(.*)"', source)[0]
    path = ROOT / "client" / "package.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'"version": ".*"', '"version": "%s"' % spell_for_npm(version), text), encoding="utf-8")


def spell_for_npm(version: str) -> str:
    """Return a version of PEP 440 as one of Semantic Versioning: ``1.0.0rc1`` is ``1.0.0-rc.1``."""
    return re.sub(
        r"(a|b|rc)(\d+)$",
        lambda match: "-%s.%s" % ({"a": "alpha", "b": "beta"}.get(match[1], match[1]), match[2]),
        version,
    )


def run_python(*arguments: object, env: dict[str, str] | None = None, quiet: bool = False) -> None:
    """Run this interpreter; exit if it fails. What a quiet command prints is shown only then."""
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    done = subprocess.run([sys.executable, *map(str, arguments)], env=env, text=True, **kept)
    if done.returncode:
        sys.exit("%s%s failed" % (done.stdout or "", " ".join(map(str, arguments))))


if __name__ == "__main__":
    main()
