"""The PostgreSQL broker keeps the contract. Tests of this engine alone have files of their own."""

from __future__ import annotations

import pytest

from flask_ssemux.brokers.contract import constants
from flask_ssemux.brokers.postgres import trimming
from tests.brokers.suites.broker import BrokerSuite, SharedBrokerSuite
from tests.brokers.suites.delivery import DeliveryFromHistorySuite, DeliverySuite, SharedDeliverySuite
from tests.brokers.suites.exact_limits import ExactLimitsSuite
from tests.brokers.suites.history import HistorySuite, SharedHistorySuite
from tests.brokers.suites.latest import LatestSuite
from tests.brokers.suites.leases import LeasesSuite, SharedLeasesSuite
from tests.brokers.suites.one_time_keys import OneTimeKeysSuite, SharedOneTimeKeysSuite
from tests.brokers.suites.presence import PresenceSuite, SharedPresenceSuite
from tests.brokers.suites.reports import ReportsSuite, SharedReportsSuite
from tests.brokers.suites.roster import RosterSuite, SharedRosterSuite
from tests.brokers.suites.several import SeveralEventsSuite, SharedSeveralEventsSuite
from tests.brokers.suites.work import SharedWorkSuite, WorkSuite
from tests.harness.waiting import until


@pytest.fixture
def make(postgres):
    return postgres


@pytest.fixture
def make_shared(postgres):
    return postgres


@pytest.fixture
def shared_url(postgres_url):
    return postgres_url


class TestBroker(BrokerSuite, SharedBrokerSuite):
    pass


class TestDelivery(DeliverySuite, DeliveryFromHistorySuite, SharedDeliverySuite):
    pass


class TestExactLimits(ExactLimitsSuite):
    def test_a_gap_in_forgotten_channels_begins_an_epoch_for_all(self, make, recorder, monkeypatch):
        """Notifications name the channels, so only their readers have a gap. The bodies are too large for them."""
        for name, value in (("LIVE_SECONDS", 0.0), ("LIVE_EVENTS", 1)):
            monkeypatch.setattr(constants, name, value)
        for name, value in (("FLOORS", 50), ("FLOORS_SECONDS", 0.0), ("TRIM_APPENDS", 50), ("PAUSE", 0.0)):
            monkeypatch.setattr(trimming, name, value)
        broker, names = make(seconds=0.0), ["once:%d" % number for number in range(300)]
        slow, is_waiting, go_on = recorder.make_blocked_listener()
        broker.history.start_delivery(slow)
        broker.history.subscribe_channels(["first", "last", *names])
        broker.history.append_event("first", b"x")
        assert is_waiting.wait(10)
        for name in names:
            broker.history.append_event(name, b"x" * 2000)
        go_on.set()
        broker.history.append_event("last", b"x")
        until(lambda: recorder.records and recorder.records[-1].channel == "last", 10, "delivery does not go on")
        gone = {name for channels, _ in recorder.gaps for name in channels}
        assert len(gone) > 100 and not recorder.renewals
        assert gone | {record.channel for record in recorder.records} == {"first", "last", *names}


class TestHistory(HistorySuite, SharedHistorySuite):
    pass


class TestLatest(LatestSuite):
    pass


class TestLeases(LeasesSuite, SharedLeasesSuite):
    pass


class TestOneTimeKeys(OneTimeKeysSuite, SharedOneTimeKeysSuite):
    pass


class TestPresence(PresenceSuite, SharedPresenceSuite):
    pass


class TestRoster(RosterSuite, SharedRosterSuite):
    pass


class TestReports(ReportsSuite, SharedReportsSuite):
    pass


class TestSeveralEvents(SeveralEventsSuite, SharedSeveralEventsSuite):
    pass


class TestWork(WorkSuite, SharedWorkSuite):
    pass
