"""The measured table of docs/proxies.md: `--write-docs` writes it, and a test reads it in every run."""

from __future__ import annotations

from tests.harness.servers import ROOT
from tests.proxies.proxy import Setup

DOCUMENT = ROOT / "docs" / "proxies.md"
BEGIN, END = "<!-- measured -->\n", "<!-- /measured -->\n"

#: The columns' titles, by the names that the tests use.
COLUMNS = {
    "first": "first byte",
    "event": "an event",
    "silence": "longest silence",
    "idle": "idle for 10 s, time-out 4 s",
    "left": "a client that leaves",
    "many": "500 streams",
    "http2": "8 streams over one HTTP/2 connection",
    "reload": "at a reload",
    "old": "the hand-written stream",
}


def row(setup: Setup, values: dict[str, str]) -> str:
    return f"| {setup.proxy} | {setup.config} | {' | '.join(values[name] for name in COLUMNS)} |"


def table(seen: dict[Setup, dict[str, str]]) -> str:
    head = f"| | | {' | '.join(COLUMNS.values())} |\n|{'---|' * (len(COLUMNS) + 2)}\n"
    return head + "".join(row(setup, values) + "\n" for setup, values in seen.items())


def write(seen: dict[Setup, dict[str, str]]) -> None:
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    DOCUMENT.write_text(before + BEGIN + table(seen) + END + after, encoding="utf-8")


def rows() -> list[list[str]]:
    """Return the cells of the document's rows."""
    text = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines()[2:]]
