"""The commands of the pages that no other test runs: they are parsed by the program that would run them.

`flask ssemux` and `make bench` get an error for a command or an option that they do not have. What a page exports is an
option of flask_ssemux with a value that it takes.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import types

import click
import pytest
from flask import Flask

from flask_ssemux import SSEMux, cli
from flask_ssemux.options import list_options
from tests.documents.census import list_all_blocks, list_unread_commands
from tests.harness.servers import ROOT

SETUP = (ROOT / "setup.cfg").read_text(encoding="utf-8")
OPTIONS = {name for name, _, _ in list_options()}
COMMANDS = [(found, line) for found, line in list_unread_commands()]


def parse_by_click(group: click.Group, words: list[str]) -> None:
    """Parse the words as a command of the group, with its options, and do not run it."""
    name = words[0]
    found = group.get_command(click.Context(group), name)
    assert found is not None, "there is no command %s" % name
    found.make_context(name, words[1:], obj=types.SimpleNamespace())


def check_ssemux(line: str) -> None:
    words = shlex.split(line.partition(" | ")[0])
    words = words[words.index("ssemux" if "ssemux" in words else "flask_ssemux") + 1 :]
    parse_by_click(cli.make_commands(), words)


def check_bench(line: str) -> None:
    main = pytest.importorskip("benchmarks.__main__").main
    words = shlex.split(dict(word.split("=", 1) for word in shlex.split(line)[2:]).get("ARGS", ""))
    if words:
        parse_by_click(main, words)


def check_export(line: str) -> None:
    key, value = shlex.split(line)[1].split("=", 1)
    app = Flask("shop")
    app.config[key] = value
    SSEMux(app)
    assert key in OPTIONS


def check_pip(line: str) -> None:
    """Each extra exists."""
    for extra in re.findall(r"flask_ssemux\[(\w+)\]", line):
        assert re.search(r"^%s =$" % extra, SETUP, re.M), extra


def check_make(line: str) -> None:
    targets = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)[1]
    assert line.split()[1] in targets.split()


CHECKS = {
    r"(FLASK_APP=shop )?flask ssemux ": check_ssemux,
    r"python -m flask_ssemux ": check_ssemux,
    r"make bench\b": check_bench,
    r"make \w+$": check_make,
    r"export SSEMUX_": check_export,
    r"pip install .*flask_ssemux": check_pip,
}


def find_check(line: str):
    return next((check for begins, check in CHECKS.items() if re.match(begins, line)), None)


@pytest.mark.parametrize("line", sorted({line for _, line in COMMANDS}))
def test_its_program_takes_the_command(line):
    check = find_check(line)
    assert check, "no test runs this command, none checks it, and tests/documents/census.py has no reason for it"
    check(line)


def test_a_shell_can_read_each_block():
    sources = [found.source for found in list_all_blocks() if found.language == "sh"]
    done = subprocess.run(["bash", "-n"], input="\n".join(sources), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_option_is_noticed():
    for wrong in ("flask ssemux status --jsn", "flask ssemux stat", 'make bench ARGS="users --wride docs"'):
        with pytest.raises((click.UsageError, AssertionError)):
            find_check(wrong)(wrong)
