"""Distinct names over several workers: exact while they are few, estimated when they are many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_ssemux.worker import distinct
from flask_ssemux.worker.distinct import KEPT, Count


def names(start, end):
    return ["user-%d" % number for number in range(start, end)]


@given(st.lists(st.sets(st.text(max_size=5), max_size=20), max_size=5))
def test_few_names_are_counted_exactly(workers):
    sketches = [distinct.make_sketch(sorted(each)) for each in workers]
    assert distinct.count_names(sketches) == Count(len(set().union(*workers)), True)


def test_as_many_as_are_kept_are_counted_exactly():
    first, second = distinct.make_sketch(names(0, KEPT)), distinct.make_sketch(names(KEPT // 2, KEPT + KEPT // 2))
    assert distinct.count_names([first, second]) == Count(KEPT + KEPT // 2, True)


@pytest.mark.parametrize("each, step", [(KEPT + 1, KEPT), (20_000, 5_000), (3_000, 3_000)])
def test_many_names_are_estimated(each, step):
    starts = range(0, 10 * step, step)
    counted = distinct.count_names(distinct.make_sketch(names(start, start + each)) for start in starts)
    truth = starts[-1] + each
    assert not counted.is_exact
    assert abs(counted.number - truth) < 0.15 * truth  # three times the expected error


def test_a_worker_with_many_and_one_with_few():
    both = distinct.count_names([distinct.make_sketch(names(0, 50_000)), distinct.make_sketch(names(50_000, 50_010))])
    assert not both.is_exact and abs(both.number - 50_010) < 0.15 * 50_010


@pytest.mark.parametrize("number", [1, KEPT, KEPT + 1, 10 * KEPT, 100_000])
def test_a_sketch_stays_small(number):
    assert len(distinct.make_sketch(names(0, number))) < KEPT * 8


def test_others_run_in_between():
    breaths = []
    distinct.make_sketch(names(0, 10 * distinct.TOGETHER), lambda: breaths.append(1))
    assert len(breaths) == 10
