"""A day's worth of new users and channels: the memory of a worker stays level.

``GROWTH=20000`` in the environment makes the day as long as that.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.harness.servers import ROOT


@pytest.mark.parametrize("engine", ["memory", "sqlite", "redis"])
def test_memory_is_level_however_many_users_and_channels_come_and_go(request, tmp_path, engine):
    url = {
        "memory": lambda: "memory:",
        "sqlite": lambda: "sqlite:///%s" % (tmp_path / "events.sqlite3"),
        "redis": lambda: request.getfixturevalue("redis_url"),
    }[engine]()
    done = subprocess.run([sys.executable, "-m", "tests.unit.growth", url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
