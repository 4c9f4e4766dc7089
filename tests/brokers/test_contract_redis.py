"""The Redis broker keeps the contract. Tests of this engine alone have files of their own."""

from __future__ import annotations

import pytest

from tests.brokers.suites.broker import BrokerSuite, SharedBrokerSuite
from tests.brokers.suites.delivery import DeliverySuite, SharedDeliverySuite
from tests.brokers.suites.history import HistorySuite, SharedHistorySuite
from tests.brokers.suites.latest import LatestSuite
from tests.brokers.suites.leases import LeasesSuite, SharedLeasesSuite
from tests.brokers.suites.one_time_keys import OneTimeKeysSuite, SharedOneTimeKeysSuite
from tests.brokers.suites.presence import PresenceSuite, SharedPresenceSuite
from tests.brokers.suites.reports import ReportsSuite, SharedReportsSuite
from tests.brokers.suites.roster import RosterSuite, SharedRosterSuite
from tests.brokers.suites.several import SeveralEventsSuite, SharedSeveralEventsSuite
from tests.brokers.suites.work import SharedWorkSuite, WorkSuite


@pytest.fixture
def make(redis):
    return redis


@pytest.fixture
def make_shared(redis):
    return redis


@pytest.fixture
def shared_url(redis_url):
    return redis_url


class TestBroker(BrokerSuite, SharedBrokerSuite):
    pass


class TestDelivery(DeliverySuite, SharedDeliverySuite):
    pass


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
