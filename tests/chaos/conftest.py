"""Options of the chaos runs, and the seed, which is printed whether they fail or not."""

from __future__ import annotations

import pytest

from tests.chaos.diary import Diary


def pytest_terminal_summary(terminalreporter, config):
    stats = terminalreporter.stats
    ran = [report for kind in ("passed", "failed", "error") for report in stats.get(kind, ())]
    if any("test_chaos.py" in report.nodeid for report in ran):
        seed, seconds = config.getoption("--chaos-seed"), config.getoption("--chaos-seconds")
        terminalreporter.write_line(f"chaos: --chaos-seed {seed} --chaos-seconds {seconds:g} decides the same again")


@pytest.fixture
def seconds(pytestconfig):
    """Return how long a scenario lasts."""
    return pytestconfig.getoption("--chaos-seconds")


@pytest.fixture
def diary(request, pytestconfig):
    return Diary(f"{pytestconfig.getoption('--chaos-seed')}/{request.node.name}")
