"""How soon a user's streams may evict each other. No clock runs."""

from __future__ import annotations

import time

import pytest

from flask_ssemux.brokers import open_broker
from flask_ssemux.publishing.revocation import Revocation
from flask_ssemux.worker import eviction_backoff
from flask_ssemux.worker.evict_oldest import OldestEviction
from flask_ssemux.worker.eviction_backoff import (
    FIRST_DELAY,
    FORGOTTEN_AFTER,
    FREE_EVICTIONS,
    MAX_DELAY,
    EvictionBackoff,
)


@pytest.mark.parametrize("limit", [1, 3, 32])
def test_the_first_evictions_are_free_and_each_next_delay_is_twice_as_long(limit):
    made, now = EvictionBackoff(limit), 100.0
    for _ in range(limit + FREE_EVICTIONS):
        assert made.get_delay("ann", now) == 0
        made.note_eviction("ann", now)
    delays = []
    for _ in range(8):
        delays.append(made.get_delay("ann", now))
        now += delays[-1]
        assert made.get_delay("ann", now) == 0 and made.get_delay("bob", now) == 0
        made.note_eviction("ann", now)
    assert delays == [min(MAX_DELAY, FIRST_DELAY * 2**number) for number in range(8)]


def test_a_user_without_evictions_for_long_enough_begins_afresh():
    made, now = EvictionBackoff(1), 100.0
    for _ in range(1 + FREE_EVICTIONS):
        made.note_eviction("ann", now)
    now += FIRST_DELAY + FORGOTTEN_AFTER + 1
    for _ in range(1 + FREE_EVICTIONS):
        assert made.get_delay("ann", now) == 0
        made.note_eviction("ann", now)
    assert made.get_delay("ann", now) == FIRST_DELAY


def test_a_stream_that_is_early_waits_and_takes_what_becomes_free(monkeypatch):
    broker = open_broker("memory:")
    eviction = OldestEviction(broker, lambda stream, revocation: None, 1)
    for _ in range(1 + FREE_EVICTIONS):
        eviction.handle_eviction(Revocation("ann", holder="elsewhere"))
    answers = iter([False, False, True])
    assert eviction.evict_and_take("ann", lambda: next(answers))
    monkeypatch.setattr("flask_ssemux.worker.evict_oldest.MAX_WAIT", 0.1)
    began = time.monotonic()
    assert not eviction.evict_and_take("ann", lambda: False)
    assert 0.1 <= time.monotonic() - began < 2
    assert eviction._waiting == {} and broker.history.get_newest_cursor().sequence == 0, "no stream was asked to end"


def test_the_users_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(eviction_backoff, "USERS", 3)
    made = EvictionBackoff(1)
    for number in range(10):
        made.note_eviction(str(number), 1.0)
    assert len(made._evictions) == 3
