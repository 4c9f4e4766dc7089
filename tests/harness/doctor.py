"""``flask ssemux doctor`` in a process of its own, as a user runs it, and its output."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any, Mapping

from tests.harness.servers import ROOT, environment

APP = "tests.apps.lab:create_app()"

#: Seconds after which a run that hangs is given up; a run with a short heartbeat takes a few.
SECONDS = 90


class Diagnosis:
    """The result of a run.

    :ivar code: its exit status.
    :ivar report: its JSON; {} if it printed none.
    """

    def __init__(self, code: int, text: str, errors: str = "") -> None:
        self.code = code
        self.text = text
        self.errors = errors
        self.report: dict[str, Any] = json.loads(text) if text.startswith("{") else {}

    @property
    def statuses(self) -> dict[str, str]:
        """The statuses by the checks' names."""
        return {check["name"]: check["status"] for check in self.report["checks"]}

    def check(self, name: str) -> dict[str, Any]:
        return next(check for check in self.report["checks"] if check["name"] == name)

    def advice(self, name: str) -> list[str]:
        """Return all lines of configuration in a check's advice."""
        return [line for advice in self.check(name)["advice"] for line in advice["lines"]]

    def troubles(self) -> dict[str, str]:
        """What warned or failed, with its text: {} if everything is well."""
        return {c["name"]: c["said"] for c in self.report["checks"] if c["status"] in ("warn", "fail")}

    def __repr__(self) -> str:
        return f"<Diagnosis {self.code}: {self.text}{self.errors}>"


def diagnose(
    url: str | None,
    *args: str,
    app: str = APP,
    env: Mapping[str, str | None] | None = None,
    cwd: Any = ROOT,
    as_json: bool = True,
    python: str = sys.executable,
    terminal: bool = False,
) -> Diagnosis:
    """Run the doctor against `url` (None: the server side of `app`).

    `app` must have the SECRET_KEY of the server behind `url`, as the lab and its variants have; otherwise there are no
    probes. With `terminal` the output goes to a terminal, and all of it is in `text`.
    """
    command = [python, "-m", "flask", "ssemux", "doctor", *([url] if url else []), *args]
    command += ["--json"] if as_json else []
    env = environment({"FLASK_APP": app, "PYTHONWARNINGS": None, **(env or {})})
    if terminal:
        return _on_a_terminal(command, str(cwd), env)
    done = subprocess.run(command, cwd=str(cwd), env=env, capture_output=True, text=True, timeout=SECONDS)
    return Diagnosis(done.returncode, done.stdout, done.stderr)


def _on_a_terminal(command: list[str], cwd: str, env: dict[str, str]) -> Diagnosis:
    ours, its = pty.openpty()
    process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=its, stderr=its)
    os.close(its)
    said = b""
    try:
        while True:
            said += os.read(ours, 65536)
    except OSError:  # no process has it open any more
        pass
    finally:
        os.close(ours)
    return Diagnosis(process.wait(SECONDS), said.decode())
