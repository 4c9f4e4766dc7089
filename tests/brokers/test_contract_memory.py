"""The memory broker keeps the contract. Tests of this engine alone have files of their own."""

from __future__ import annotations

import pytest

from tests.brokers.suites.broker import BrokerSuite
from tests.brokers.suites.delivery import DeliveryFromHistorySuite, DeliverySuite
from tests.brokers.suites.exact_limits import ExactLimitsSuite
from tests.brokers.suites.history import HistorySuite
from tests.brokers.suites.latest import LatestSuite
from tests.brokers.suites.leases import LeasesSuite
from tests.brokers.suites.one_time_keys import OneTimeKeysSuite
from tests.brokers.suites.presence import PresenceSuite
from tests.brokers.suites.reports import ReportsSuite
from tests.brokers.suites.roster import RosterSuite
from tests.brokers.suites.several import SeveralEventsSuite
from tests.brokers.suites.work import WorkSuite


@pytest.fixture
def make(memory):
    return memory


class TestBroker(BrokerSuite):
    pass


class TestDelivery(DeliverySuite, DeliveryFromHistorySuite):
    pass


class TestExactLimits(ExactLimitsSuite):
    pass


class TestHistory(HistorySuite):
    pass


class TestLatest(LatestSuite):
    pass


class TestLeases(LeasesSuite):
    pass


class TestOneTimeKeys(OneTimeKeysSuite):
    pass


class TestPresence(PresenceSuite):
    pass


class TestRoster(RosterSuite):
    pass


class TestReports(ReportsSuite):
    pass


class TestSeveralEvents(SeveralEventsSuite):
    pass


class TestWork(WorkSuite):
    pass
