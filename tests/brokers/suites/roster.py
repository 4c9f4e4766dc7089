"""The contract of rosters: each user's arrival and departure is one change, which one process announces."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers import JOIN, LEAVE, open_broker
from flask_ssemux.brokers.contract.presence import CLAIM_SECONDS, MAX_CHANGES, Change
from flask_ssemux.errors import BrokerClosed
from tests.brokers.conftest import pretend_other_host

LASTS, GRACE = 300.0, 10.0

JOINS, LEAVES = [Change(JOIN, "a", "ann")], [Change(LEAVE, "a", "ann")]

ANN = {("a", "ann"): GRACE}


def come(broker, user="ann", streams=1):
    """The process has streams of this user, and says so."""
    broker.presence.announce_presence({("a", user): streams}, LASTS)
    return broker.presence.update_roster({("a", user): GRACE} if streams else {}).changes


def go(broker, user="ann"):
    return come(broker, user, 0)


def update(broker, announced=()):
    """Renew what was announced, as a process does from time to time, and return what is to be announced."""
    broker.presence.announce_presence({}, LASTS)
    return broker.presence.update_roster({}, announced).changes


class RosterSuite:
    """What every engine promises."""

    def test_a_change_is_returned_until_it_is_announced(self, broker):
        assert come(broker) == JOINS
        assert update(broker) == JOINS
        assert update(broker, JOINS) == []
        assert broker.presence.get_roster("a") == ["ann"] and broker.presence.get_roster("b") == []

    def test_a_user_leaves_after_the_grace_period(self, broker, travel):
        assert update(broker, come(broker)) == []
        assert go(broker) == []
        changes, due = broker.presence.update_roster({})
        assert changes == [] and 0 < due <= GRACE
        travel(broker, GRACE - 2)
        assert update(broker) == [] and broker.presence.get_roster("a") == ["ann"]
        travel(broker, 3)
        assert update(broker) == LEAVES
        assert broker.presence.get_roster("a") == [], "a page that asks now may not hear of this leave"
        assert update(broker, LEAVES) == []
        assert broker.presence.get_roster("a") == []
        assert broker.presence.update_roster({}) == ([], None)

    def test_a_user_who_comes_back_in_time_has_not_left(self, broker, travel):
        update(broker, come(broker))
        for _ in range(3):
            assert go(broker) == []
            travel(broker, GRACE - 2)
            assert come(broker) == []
            travel(broker, 3)
            assert update(broker) == []
        assert broker.presence.update_roster({}) == ([], None)

    def test_a_user_who_comes_back_joins_after_the_leave_was_announced(self, broker, travel):
        update(broker, come(broker))
        go(broker)
        travel(broker, GRACE + 1)
        assert update(broker) == LEAVES
        assert come(broker) == LEAVES
        assert update(broker, LEAVES) == JOINS
        assert update(broker, JOINS) == []
        assert broker.presence.update_roster({}) == ([], None)

    def test_a_join_that_could_not_be_announced_in_time_is_a_leave(self, broker, travel):
        assert come(broker) == JOINS
        go(broker)
        travel(broker, GRACE + 1)
        assert update(broker) == LEAVES
        assert update(broker, JOINS) == LEAVES, "what was announced is no longer asked for"
        assert update(broker, LEAVES) == []

    def test_several_streams_of_a_user_are_one_member(self, broker, travel):
        update(broker, come(broker, streams=3))
        assert come(broker, streams=1) == []
        travel(broker, GRACE + 1)
        assert update(broker) == []

    def test_a_repeated_call_changes_nothing(self, broker):
        come(broker)
        for _ in range(2):
            assert broker.presence.update_roster(ANN, JOINS).changes == []
        assert broker.presence.update_roster({}) == ([], None)

    def test_users_who_are_not_on_the_roster_cause_no_change(self, broker, travel):
        broker.presence.announce_presence({("a", "bob"): 1}, LASTS)
        broker.presence.announce_presence({("a", "bob"): 0}, LASTS)
        travel(broker, GRACE + 1)
        assert broker.presence.update_roster({}) == ([], None)

    @pytest.mark.parametrize("user", ["bob b\u00e4r", "a b", "1/2", "user:7"])
    def test_names_come_back_as_they_are(self, broker, user):
        assert come(broker, user) == [Change(JOIN, "a", user)]
        assert broker.presence.get_roster("a") == [user]

    def test_many_changes_are_returned_in_parts(self, broker, travel):
        members = {("a", str(number)): GRACE for number in range(MAX_CHANGES + 100)}
        broker.presence.announce_presence(dict.fromkeys(members, 1), LASTS)
        for kind, given in ((JOIN, members), (LEAVE, {})):
            first = broker.presence.update_roster(given).changes
            second = broker.presence.update_roster({}, first).changes
            assert sorted(first + second) == sorted(Change(kind, *member) for member in members)
            assert (len(first), update(broker, second)) == (MAX_CHANGES, [])
            broker.presence.announce_presence(dict.fromkeys(members, 0), LASTS)
            travel(broker, GRACE + 1)

    def test_after_close_both_methods_raise(self, broker):
        come(broker)
        broker.close()
        with pytest.raises(BrokerClosed):
            broker.presence.update_roster({})
        with pytest.raises(BrokerClosed):
            broker.presence.get_roster("a")


class SharedRosterSuite:
    """What engines promise that several processes share."""

    def test_one_process_owns_a_change(self, make_shared, travel):
        one, other = make_shared(), make_shared()
        assert (come(one), come(other)) == (JOINS, [])
        assert update(one, JOINS) == []
        assert go(one) == [] and go(other) == []
        travel(one, GRACE + 1)
        assert (update(other), update(one)) == (LEAVES, [])
        assert update(other, LEAVES) == []
        assert one.presence.get_roster("a") == other.presence.get_roster("a") == []

    def test_a_user_stays_while_any_process_has_streams(self, make_shared, travel):
        one, other = make_shared(), make_shared()
        update(one, come(one))
        come(other)
        go(one)
        travel(one, GRACE + 1)
        assert (update(one), update(other)) == ([], [])
        assert one.presence.update_roster({}) == ([], None)

    def test_users_of_a_process_that_ended_leave_after_the_grace_period(self, make_shared, travel):
        one, other = make_shared(), make_shared()
        update(one, come(one))
        one.close()
        assert update(other) == []
        travel(other, GRACE + 1)
        assert update(other) == LEAVES

    def test_users_of_a_process_that_is_silent_leave(self, make_shared, shared_url, travel):
        broker, foreign = make_shared(), open_broker(shared_url)
        pretend_other_host(foreign)
        update(foreign, come(foreign))
        update(broker)
        travel(broker, LASTS - 1)
        assert update(broker) == []
        travel(broker, 2)
        assert update(broker) == []
        travel(broker, GRACE + 1)
        assert update(broker) == LEAVES
        foreign._store.is_closed = True  # its end would also remove them

    def test_a_leave_that_a_dead_process_owned_goes_to_another(self, make_shared, travel):
        one, other = make_shared(), make_shared()
        update(one, come(one))
        go(one)
        travel(one, GRACE + 1)
        assert update(one) == LEAVES
        assert come(other) == [], "the user is back, but the leave has to be announced first"
        travel(one, CLAIM_SECONDS + 1)
        assert update(other) == LEAVES
        assert update(one, LEAVES) == [], "it is no longer this process's"
        assert update(other, LEAVES) == JOINS
        assert update(other, JOINS) == []

    def test_a_join_that_a_process_did_not_announce_goes_to_another_if_the_user_is_still_there(
        self, make_shared, travel
    ):
        one, other = make_shared(), make_shared()
        assert (come(one), come(other)) == (JOINS, [])
        one.close()
        travel(other, GRACE + 1)
        assert update(other) == JOINS
        assert update(other, JOINS) == []
