"""The files around the package agree: workflows and hooks call commands that exist, and `make help` lists them all."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.search(r"\.PHONY: (.*)", MAKEFILE).group(1).split())
#: Called by other commands, and by hand only where one language is asked for.
PARTS = {"check-python", "check-javascript"}

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_help_lists_every_command_with_a_sentence():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+) +\S", shown, re.M)) == TARGETS - PARTS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_commands_and_tests_that_exist(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert commands
    for command in commands:
        for target in re.findall(r"^make ([a-z-]+)", command):
            assert target in TARGETS, command
        for name in re.findall(r"\btests/[\w/]+\.py|^\.ci/\w+", command):
            assert (ROOT / name).exists(), command


def test_hooks_call_commands_that_exist():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert {hook["entry"] for hook in hooks} == {"make " + part for part in PARTS}


def test_issue_forms_ask_for_what_a_report_needs():
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text(encoding="utf-8"))
    assert {"what", "how", "versions"} == {
        part["id"] for part in form["body"] if part.get("validations", {}).get("required")
    }
