"""docs/brokers.md says of each engine what its test_contract file tests, and no more."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.brokers import suites

DOCS = Path(__file__).resolve().parents[2] / "docs" / "brokers.md"

#: How the rows of the table begin, and the suites that they stand for.
ROWS = {
    "each event once": ("BrokerSuite", "DeliverySuite", "HistorySuite"),
    "several events": ("SeveralEventsSuite",),
    "latest events": ("LatestSuite",),
    "a limit of streams": ("LeasesSuite",),
    "presence": ("PresenceSuite", "RosterSuite"),
    "tickets": ("OneTimeKeysSuite",),
    "figures": ("ReportsSuite",),
    "feeds and runs": ("WorkSuite",),
    "all of this for several processes": (
        "SharedBrokerSuite", "SharedDeliverySuite", "SharedHistorySuite", "SharedLeasesSuite", "SharedOneTimeKeysSuite",
        "SharedPresenceSuite", "SharedReportsSuite", "SharedRosterSuite", "SharedSeveralEventsSuite", "SharedWorkSuite",
    ),
    "no event over a limit": ("ExactLimitsSuite",),
    "a worker that was blocked": ("DeliveryFromHistorySuite",),
}  # fmt: skip

#: The engines' columns, and their test files.
COLUMNS = {
    "`memory:`": "memory", "`sqlite:`": "sqlite", "`redis:`": "redis", "`redis+cluster:`": "redis_cluster",
    "`postgresql:`": "postgres",
}  # fmt: skip


def read_promises():
    """Return {row: {column: "yes" or "no"}}."""
    found = re.search(r"<!-- promises -->\n+(.*?)\n+<!-- /promises -->", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    head, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].splitlines())
    return {row[0]: dict(zip(head[1:], row[1:])) for row in rows}


def list_suites(engine):
    """Return the suites that an engine passes."""
    module = importlib.import_module("tests.brokers.test_contract_%s" % engine)
    classes = [value for name, value in vars(module).items() if name.startswith("Test")]
    return {base.__name__ for value in classes for base in value.__mro__ if base.__name__.endswith("Suite")}


def test_the_table_has_all_engines_and_rows():
    promises = read_promises()
    engines = {path.stem.partition("test_contract_")[2] for path in Path(__file__).parent.glob("test_contract_*.py")}
    assert set(COLUMNS.values()) == engines
    assert all(list(cells) == list(COLUMNS) for cells in promises.values())
    assert [next((row for row in promises if row.startswith(start)), "") for start in ROWS] == list(promises)


def test_each_suite_stands_in_one_row():
    files = (path.read_text(encoding="utf-8") for path in Path(suites.__path__[0]).glob("*.py"))
    names = [name for text in files for name in re.findall(r"^class (\w+Suite)\b", text, re.MULTILINE)]
    assert sorted(names) == sorted(name for row in ROWS.values() for name in row)


@pytest.mark.parametrize("column", COLUMNS)
def test_an_engine_promises_what_its_tests_test(column):
    passed = list_suites(COLUMNS[column])
    for row, cells in read_promises().items():
        needed = next(names for start, names in ROWS.items() if row.startswith(start))
        assert cells[column] == ("yes" if passed.issuperset(needed) else "no"), row
