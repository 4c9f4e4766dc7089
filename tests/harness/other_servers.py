"""WSGI servers other than gunicorn and `flask run`, each started as its own documentation describes."""

from __future__ import annotations

import importlib.util
import sys
from typing import Mapping, Sequence

from tests.harness.packages import missing
from tests.harness.servers import Server, answers, listens


class Waitress(Server):
    """`waitress-serve --call`; with `threads=None` waitress uses its default of 4."""

    name = "waitress"

    def __init__(
        self,
        app: str,
        threads: int | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str | None] | None = None,
    ) -> None:
        need_python("waitress")
        super().__init__(env)
        self.app = app.replace("()", "")
        self.args = [*args] if threads is None else [f"--threads={threads}", *args]

    def command(self) -> list[str]:
        serve = [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{self.port}"]
        return [*serve, *self.args, "--call", self.app]

    def ready(self) -> bool:
        return answers(self.port)


class Pywsgi(Server):
    """gevent's own server, in the ten lines that its users write (tests/apps/pywsgi.py)."""

    name = "pywsgi"

    def __init__(self, args: Sequence[str] = (), env: Mapping[str, str | None] | None = None) -> None:
        super().__init__(env)
        self.args = args

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.apps.pywsgi", str(self.port), *self.args]

    def ready(self) -> bool:
        return answers(self.port)


class Uwsgi(Server):
    """uWSGI, from its wheel, which contains the gevent plugin.

    `socket` says how it is reached: `http-socket` (the worker owns the browser's connection), `http` (a router of its
    own in front), or `socket` (its own protocol, for nginx's `uwsgi_pass`).
    """

    name = "uwsgi"
    GEVENT = ("--gevent", "50", "--gevent-monkey-patch")

    def __init__(
        self,
        app: str,
        args: Sequence[str] = GEVENT,
        env: Mapping[str, str | None] | None = None,
        socket: str = "http-socket",
    ) -> None:
        need_python("pyuwsgi")
        super().__init__(env)
        self.app, self.args, self.socket = app, args, socket

    def command(self) -> list[str]:
        run = [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()"]
        return [*run, f"--{self.socket}", f"127.0.0.1:{self.port}", "--master", "--module", self.app, *self.args]

    def ready(self) -> bool:
        return "spawned uWSGI worker" in self.log and listens(self.port)


class PythonServer(Server):
    """A server that runs as a Python module with these arguments; PORT in them is replaced by the port."""

    name = "python-server"

    def __init__(self, package: str, args: Sequence[str], env: Mapping[str, str | None] | None = None) -> None:
        need_python(package)
        super().__init__(env)
        self.args = args

    def command(self) -> list[str]:
        return [sys.executable, "-m", *(arg.replace("PORT", str(self.port)) for arg in self.args)]

    def ready(self) -> bool:
        return answers(self.port, "/ping")


def need_python(package: str) -> None:
    """Skip the test, or fail it in CI, without this package of the `test` extra. A package without a wheel for some
    machine may be missing there.
    """
    if importlib.util.find_spec(package) is None:
        missing(f"the Python package {package} is missing: pip install {package}")
