"""The bytes that replays hold are bounded, and are granted in the order of the requests."""

from __future__ import annotations

from flask_ssemux.hub import allowance as allowance_module
from flask_ssemux.hub.allowance import Allowance


def nothing():
    pass


def test_bytes_are_granted_in_order_while_there_is_room():
    allowance = Allowance(100)
    first, second = allowance.request(60, nothing), allowance.request(60, nothing)
    third = allowance.request(10, nothing)
    assert [share.is_granted for share in (first, second, third)] == [True, False, False]  # none overtakes another
    assert allowance.request_now(10, nothing) is None
    first.resize(30)
    assert (second.is_granted, third.is_granted, allowance.held) == (True, True, 100)
    for share in (first, second, third, third):
        share.give_back()
    assert allowance.held == 0 and not allowance._granted and not allowance._waiting


def test_a_share_larger_than_the_allowance_is_granted_alone():
    allowance = Allowance(100)
    small, large = allowance.request(1, nothing), allowance.request(1000, nothing)
    assert not large.is_granted
    small.give_back()
    assert large.wait(0) and allowance.held == 1000


def test_a_share_that_no_longer_waits_is_not_granted():
    allowance = Allowance(100)
    first, second = allowance.request(100, nothing), allowance.request(100, nothing)
    second.give_back()
    first.give_back()
    assert allowance.held == 0


def test_a_client_that_holds_a_share_for_long_is_cut_off_if_others_wait(monkeypatch):
    allowance, cut = Allowance(100), []
    allowance.request(100, lambda: cut.append(1))
    monkeypatch.setattr(allowance_module, "SLOW", 0.0)
    allowance.cut_slow_holders()
    assert not cut
    assert not allowance.request(1, nothing).wait(0.01) and cut == [1]
