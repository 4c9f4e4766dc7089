"""Replays wait for one another: in their order, within bounds, and nobody holds up the others."""

from __future__ import annotations

import threading
import time

import pytest

from flask_ssemux.errors import BrokerUnavailable
from flask_ssemux.hub import replay_turns as turns_
from flask_ssemux.hub.replay_turns import Allowance, ReplayTurns
from tests.harness.waiting import until


def nothing():
    pass


def test_turns_come_in_order_and_one_at_a_time():
    turns, order, working = ReplayTurns(nothing), [], []

    def work(number):
        with turns.turn():
            working.append(number)
            assert len(working) == 1
            order.append(number)
            working.remove(number)

    threads = []
    with turns.turn():
        for number in range(20):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            until(lambda number=number: len(turns._waiting) == number + 1, 5, "it does not wait")
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_others_run_after_long_work_before_the_next_turn():
    events = []
    turns = ReplayTurns(lambda: events.append(("breath", turns._is_taken)))
    for _ in range(3):
        with turns.turn():
            time.sleep(turns_.SLICE)
    assert events == [("breath", True)] * 3


def test_a_turn_that_does_not_come_is_refused(monkeypatch):
    monkeypatch.setattr(turns_, "PATIENCE", 0.05)
    turns, failed = ReplayTurns(nothing), []

    def work():
        with pytest.raises(BrokerUnavailable, match=r"history is read by others, for 0\.05 s"), turns.turn():
            pass
        failed.append(1)

    with turns.turn():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert failed == [1]
    with turns.turn(), turns.free_turn() as is_free:
        assert not is_free
    with turns.free_turn() as is_free:
        assert is_free


def test_bytes_are_granted_in_order_while_there_is_room():
    allowance = Allowance(100)
    first, second = allowance.ask(60, nothing), allowance.ask(60, nothing)
    third = allowance.ask(10, nothing)
    assert [share.is_granted for share in (first, second, third)] == [True, False, False]  # none overtakes another
    assert allowance.ask_now(10, nothing) is None
    first.settle(30)
    assert (second.is_granted, third.is_granted, allowance.held) == (True, True, 100)
    for share in (first, second, third, third):
        share.give_back()
    assert allowance.held == 0 and not allowance._granted and not allowance._waiting


def test_one_that_is_larger_than_all_is_granted_alone():
    allowance = Allowance(100)
    small, large = allowance.ask(1, nothing), allowance.ask(1000, nothing)
    assert not large.is_granted
    small.give_back()
    assert large.wait(0) and allowance.held == 1000


def test_one_that_no_longer_waits_is_not_granted():
    allowance = Allowance(100)
    first, second = allowance.ask(100, nothing), allowance.ask(100, nothing)
    second.give_back()
    first.give_back()
    assert allowance.held == 0


def test_who_holds_for_long_is_cut_off_where_others_wait(monkeypatch):
    allowance, cut = Allowance(100), []
    allowance.ask(100, lambda: cut.append(1))
    monkeypatch.setattr(turns_, "SLOW", 0.0)
    allowance.cut_slow()
    assert not cut
    assert not allowance.ask(1, nothing).wait(0.01) and cut == [1]
