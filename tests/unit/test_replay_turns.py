"""Replays take turns in their order, and none delays the others."""

from __future__ import annotations

import threading
import time

import pytest

from flask_ssemux.errors import BrokerUnavailable
from flask_ssemux.hub import replay_turns
from flask_ssemux.hub.replay_turns import ReplayTurns
from tests.harness.waiting import until


def nothing():
    pass


def test_turns_come_in_order_and_one_at_a_time():
    turns, order, working = ReplayTurns(nothing), [], []

    def work(number):
        with turns.take_turn():
            working.append(number)
            assert len(working) == 1
            order.append(number)
            working.remove(number)

    threads = []
    with turns.take_turn():
        for number in range(20):
            threads.append(threading.Thread(target=work, args=(number,)))
            threads[-1].start()
            until(lambda number=number: len(turns._waiting) == number + 1, 5, "it does not wait")
    for thread in threads:
        thread.join()
    assert order == list(range(20))


def test_others_run_after_long_work_before_the_next_turn():
    events = []
    turns = ReplayTurns(lambda: events.append(("others run", turns._is_taken)))
    for _ in range(3):
        with turns.take_turn():
            time.sleep(replay_turns.SLICE)
    assert events == [("others run", True)] * 3


def test_a_turn_that_does_not_come_is_refused(monkeypatch):
    monkeypatch.setattr(replay_turns, "PATIENCE", 0.05)
    turns, failed = ReplayTurns(nothing), []

    def work():
        with pytest.raises(
            BrokerUnavailable, match=r"other replays have read the history for 0\.05 s"
        ), turns.take_turn():
            pass
        failed.append(1)

    with turns.take_turn():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert failed == [1]
    with turns.take_turn(), turns.take_free_turn() as is_free:
        assert not is_free
    with turns.take_free_turn() as is_free:
        assert is_free
