"""Which clients are refused after a revocation with ``stop``. Time is passed in."""

from __future__ import annotations

import json
import time

import pytest

from flask_ssemux.hub import stay_away
from flask_ssemux.hub.resume import NEW_CLIENT
from flask_ssemux.hub.stay_away import HOLD, StayAway
from flask_ssemux.publishing import revocation
from flask_ssemux.publishing.revocation import Revocation

# -- refused clients ----------------------------------------------------------------


def test_a_user_and_a_channel_are_refused_for_a_while():
    made = StayAway()
    made.add(("ann", None), 100.0)
    made.add((None, "auction"), 100.0)
    for now, held in ((100.0, True), (100.0 + HOLD - 1, True), (100.0 + HOLD, False)):
        assert made.is_held("ann", ["news"], now) is held
        assert made.is_held(None, ["news", "auction"], now) is held
        assert not made.is_held("bob", ["news"], now) and not made.is_held(None, ["ann"], now)


def test_an_old_revocation_counts_for_the_rest_of_its_time():
    made = StayAway()
    made.add(("ann", None), 100.0, age=HOLD - 10)
    assert made.is_held("ann", [], 109.0) and not made.is_held("ann", [], 110.0)
    made.add(("bob", None), 100.0, age=float("inf"))
    made.add(("cid", None), 100.0, age=-3600.0)  # a clock that is ahead
    assert not made.is_held("bob", [], 100.0)
    assert made.is_held("cid", [], 159.0) and not made.is_held("cid", [], 160.0)


def test_an_older_revocation_shortens_nothing():
    made = StayAway()
    made.add(("ann", None), 100.0)
    made.add(("ann", None), 101.0, age=50)
    assert made.is_held("ann", [], 159.0)


def test_the_number_of_targets_is_bounded(monkeypatch):
    monkeypatch.setattr(stay_away, "TARGETS", 3)
    made = StayAway()
    for number in range(10):
        made.add((str(number), None), 1.0)
    assert [made.is_held(str(number), [], 2.0) for number in range(10)] == [False] * 7 + [True] * 3


def test_a_revocation_with_stop_says_when_it_was_sent():
    body = Revocation("ann", stop=True).to_json()
    assert -1 < revocation.get_age(body) < 5 and Revocation.from_json(body) == Revocation("ann", stop=True)
    assert "at" not in json.loads(Revocation("ann").to_json())
    assert revocation.get_age(b'{"user": "ann", "stop": true}') == float("inf")


@pytest.mark.parametrize("age, held", [(0, True), (HOLD / 2, True), (HOLD + 1, False)])
def test_a_worker_that_starts_later_knows_the_revocation(make_app, monkeypatch, age, held):
    app = make_app(SSEMUX_BROKER="sqlite:")
    worker, now = app.extensions["ssemux"].worker, time.time()
    with monkeypatch.context() as patch:
        patch.setattr(revocation.time, "time", lambda: now - age)
        worker.broker.history.append_event(
            revocation.REVOCATION_CHANNEL, Revocation("ann", stop=True, reason="bye").to_json()
        )
    hub = worker.running().hub
    hub.count_revocations()
    assert hub.must_stay_away("ann", [], NEW_CLIENT) is held
    for cursor in ("garbage", "other-1", ""):
        assert hub.must_stay_away("ann", [], hub.parse_last_ids([cursor])) is held
    later = hub.parse_last_ids([str(worker.broker.history.get_newest_cursor())])
    assert not hub.must_stay_away("ann", [], later), "a page that was rendered since then"
    assert not hub.must_stay_away("bob", [], NEW_CLIENT)


def test_a_new_epoch_changes_nothing(make_app):
    hub = make_app().extensions["ssemux"].worker.running().hub
    hub.count_revocations()
    hub.revocations.stay_away.add(("ann", None), time.monotonic())
    hub.revocations.forget_stops()
    assert hub.must_stay_away("ann", [], NEW_CLIENT)
