"""The choice of the engines that a marked test runs over."""

from __future__ import annotations

import pytest

from tests.harness.engines import ALL, SHARED, choose_engines

MARK = pytest.mark.engines("sqlite", "postgres").mark
OF_ONE_PROCESS = pytest.mark.engines("sqlite", within=ALL).mark
OF_SERVERS = pytest.mark.engines("redis", within=("redis", "postgres")).mark


def test_by_default_a_test_runs_over_the_engines_of_its_mark():
    assert choose_engines(MARK, "some") == ["sqlite", "postgres"]
    assert choose_engines(OF_ONE_PROCESS, "some") == ["sqlite"]


def test_all_are_those_that_are_possible():
    assert choose_engines(MARK, "all") == list(SHARED)
    assert choose_engines(OF_ONE_PROCESS, "all") == list(ALL)
    assert choose_engines(OF_SERVERS, "all") == ["redis", "postgres"]


def test_names_choose_among_those_that_are_possible():
    assert choose_engines(MARK, "cluster,memory") == ["cluster"]
    assert choose_engines(OF_SERVERS, "sqlite") == []
    with pytest.raises(pytest.UsageError, match="'mysql' is none of some, all, memory, sqlite"):
        choose_engines(MARK, "redis,mysql")
