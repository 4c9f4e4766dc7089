"""Runs a command to its end, and shows what it printed if it failed."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from tests.harness.servers import ROOT


def run(*command: Any, cwd: Any = ROOT, timeout: float = 120, **env: str) -> str:
    """Return what the command printed; it must end with status 0."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=str(cwd),
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout[-20000:]
    return done.stdout
